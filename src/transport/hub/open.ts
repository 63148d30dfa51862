import { AssetError } from '../../core/errors.js'
import { LIMITS } from '../../core/limits.js'
import { isSafePath } from '../../core/paths.js'
import { type Mounted, mount } from '../../sources/mounts.js'
import { HubCache } from './cache.js'
import { HubClient } from './client.js'
import { HubFile, type ListedFile } from './hub-file.js'
import { type HubReference, parseHubReference } from './reference.js'
import { type HubSettings, hubSettings } from './settings.js'

const COMMIT = /^[0-9a-f]{40}$/

/** A model of the hub that is mounted; see `sources/mounts.ts`. */
export interface HubMount extends AsyncDisposable {
  /** where readers of checkpoints find it: its folder, or the file that was named */
  readonly path: string
  /** bytes of files that came from the hub */
  fetched(): number
}

/**
 * Makes a model of the Hugging Face hub readable as a checkpoint, at one commit. What the cache on this disk has is read there;
 * of the rest only what is asked for is fetched, and kept nowhere. HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, HF_HUB_CACHE and HF_HOME
 * are heeded.
 * @throws AssetError 'BAD_USAGE', 'NOT_FOUND', 'BAD_INPUT', 'LIMIT', 'IO', 'ABORTED'
 */
export async function mountHub(
  text: string,
  options: { readonly signal?: AbortSignal | undefined; readonly pause?: number } = {},
): Promise<HubMount> {
  const [reference, settings] = [parseHubReference(text), hubSettings()]
  const { getHFHubCachePath, getRepoFolderName } = await import('@huggingface/hub')
  const folder = getHFHubCachePath()
  const cache = new HubCache(folder, getRepoFolderName({ type: 'model', name: reference.repo }))
  if (settings.isOffline) {
    const commit = COMMIT.test(reference.revision) ? reference.revision : await cache.commitOf(reference.revision)
    const files = commit === undefined ? new Map() : await cache.filesOf(commit)
    if (files.size === 0) {
      const why = `HF_HUB_OFFLINE is set, and the cache ${folder} has no revision ${reference.revision} of it`
      throw new AssetError('NOT_FOUND', `Cannot open hf:${reference.repo}: ${why}; unset it to ask the hub`)
    }
    return mounted(reference, commit!, new Map([...files].map(([path, file]) => [path, file.path])), [], async () => undefined)
  }
  const client = new HubClient(settings, `hf:${reference.repo}`, reference.repo, options.signal, options.pause)
  try {
    const { commit, listed } = await look(client, settings, reference)
    const cached = await cache.filesOf(commit)
    const files = new Map<string, Mounted>()
    const remote: HubFile[] = []
    for (const file of listed) {
      const here = cached.get(file.path)
      if (here?.size === file.size) files.set(file.path, here.path)
      else {
        const path = file.path.split('/').map(encodeURIComponent).join('/')
        const url = new URL(`${settings.endpoint}/${reference.repo}/resolve/${commit}/${path}`)
        const found = new HubFile(client, file, url, commit)
        remote.push(found)
        files.set(file.path, found)
      }
    }
    return mounted(reference, commit, files, remote, () => client.close())
  } catch (error) {
    await client.close()
    throw error
  }
}

function mounted(
  { repo, file }: HubReference,
  commit: string,
  files: ReadonlyMap<string, Mounted>,
  remote: readonly HubFile[],
  close: () => Promise<void>,
): HubMount {
  const { path, unmount } = mount(`hf:${repo}@${commit}`, files)
  return {
    path: file === undefined ? path : `${path}/${file}`,
    fetched: () => remote.reduce((sum, { fetched }) => sum + fetched, 0),
    async [Symbol.asyncDispose]() {
      unmount()
      await close()
    },
  }
}

/** The commit that a revision is now, and its files. */
async function look(client: HubClient, { endpoint: hubUrl }: HubSettings, { repo, revision }: HubReference) {
  const { listFiles, modelInfo } = await import('@huggingface/hub')
  try {
    const { sha: commit } = await modelInfo({ name: repo, revision, hubUrl, fetch: client.fetchApi(), additionalFields: ['sha'] })
    if (typeof commit !== 'string' || !COMMIT.test(commit)) throw client.bad('the hub says no commit of it')
    const listed: ListedFile[] = []
    const found = listFiles({ repo: { type: 'model', name: repo }, revision: commit, recursive: true, hubUrl, fetch: client.fetchApi() })
    for await (const entry of found) {
      const file = listedFile(entry)
      // What has a name that no path can have is nothing that a checkpoint is made of.
      if (file) listed.push(file)
      if (listed.length > LIMITS.hubFiles)
        throw new AssetError('LIMIT', `Cannot read ${client.what}: it has more than ${LIMITS.hubFiles} files`)
    }
    return { commit, listed }
  } catch (error) {
    if (error instanceof AssetError) throw error
    throw client.bad(`the hub's answer makes no sense (${error instanceof Error ? error.message : error})`)
  }
}

/** An entry of a listing, which is JSON of any shape, if it is a file. */
function listedFile(entry: unknown): ListedFile | undefined {
  if (typeof entry !== 'object' || entry === null) throw new Error('an entry is no object')
  const { type, path, size, oid, lfs } = entry as {
    type?: unknown
    path?: unknown
    size?: unknown
    oid?: unknown
    lfs?: { oid?: unknown } | null
  }
  if (type !== 'file' || typeof path !== 'string' || !isSafePath(path)) return undefined
  const digest = lfs?.oid ?? oid
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) throw new Error(`${JSON.stringify(path)} has no size`)
  if (typeof digest !== 'string' || !/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(digest))
    throw new Error(`${JSON.stringify(path)} has no digest`)
  return { path, size, digest }
}
