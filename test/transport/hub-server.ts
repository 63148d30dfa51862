import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { type OddServer, oddServer } from './odd-server.js'

/** A commit of a repository on a hub of the tests. */
export interface TestRepo {
  readonly commit: string
  readonly files: ReadonlyMap<string, Uint8Array>
  /** who may read it: everybody, whoever has the token, or whoever has accepted conditions (nobody) */
  readonly access?: 'open' | 'private' | 'gated'
}

/** What a server does instead of what it should: nothing where this gives nothing. */
export type Fault = (request: IncomingMessage, response: ServerResponse) => unknown

/** A hub on loopback that speaks the API of the real one, and its CDN on another port. */
export interface TestHub extends AsyncDisposable {
  readonly hub: OddServer
  readonly cdn: OddServer
  /** the variables that make tools ask it, with this folder as the cache */
  env(cache: string): Record<string, string>
  /** bytes of files that were sent whole or in part */
  sent(): number
  /** asked before the answer of the hub, or of its CDN */
  hubFault: Fault
  cdnFault: Fault
}

export const TOKEN = 'hf_a-secret-of-the-tests'
/** Files above this are large: the hub sends on to its CDN. */
const LARGE = 16 * 1024
const SIGNATURE = 'Signature=another-secret'

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
const gitName = (bytes: Uint8Array) => createHash('sha1').update(`blob ${bytes.byteLength}\0`).update(bytes).digest('hex')

/** The files of a folder as a repository. */
export async function repoOf(folder: string, access: TestRepo['access'] = 'open'): Promise<TestRepo> {
  const files = new Map<string, Uint8Array>()
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true }))
    if (entry.isFile()) {
      const path = join(entry.parentPath, entry.name)
      files.set(path.slice(folder.length + 1), await readFile(path))
    }
  return {
    commit: createHash('sha1')
      .update([...files.keys()].join())
      .digest('hex'),
    files,
    access,
  }
}

/** Answers with the range of `bytes` that is asked for. */
export function sendRange(
  { headers }: IncomingMessage,
  response: ServerResponse,
  bytes: Uint8Array,
  about: Record<string, string>,
): number {
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '') ?? []
  if (from === undefined) {
    response.writeHead(200, { ...about, 'content-length': bytes.byteLength }).end(bytes)
    return bytes.byteLength
  }
  const part = bytes.subarray(Number(from), Number(to) + 1)
  const range = `bytes ${from}-${Number(from) + part.byteLength - 1}/${bytes.byteLength}`
  response.writeHead(206, { ...about, 'content-length': part.byteLength, 'content-range': range }).end(part)
  return part.byteLength
}

export async function startHub(repos: Record<string, TestRepo>, pageSize = 1000): Promise<TestHub> {
  let sent = 0
  const large = new Map<string, Uint8Array>()
  for (const { files } of Object.values(repos))
    for (const bytes of files.values()) if (bytes.byteLength > LARGE) large.set(sha256(bytes), bytes)
  const cdn = await oddServer((request, response) => {
    if (test.cdnFault(request, response)) return
    const [, digest] = /^\/blobs\/([0-9a-f]{64})\?/.exec(request.url!) ?? []
    const bytes = large.get(digest ?? '')
    if (!bytes || !request.url!.endsWith(SIGNATURE)) response.writeHead(403).end()
    else sent += sendRange(request, response, bytes, { etag: `"${digest!.slice(0, 32)}"` })
  })
  const say = (response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}) =>
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
  const refuse = (response: ServerResponse, status: number, code: string) =>
    say(response, status, { error: code }, { 'x-error-code': code })
  const list = (request: IncomingMessage, response: ServerResponse, { files }: TestRepo) => {
    const from = Number(new URL(request.url!, hub.url).searchParams.get('cursor') ?? 0)
    const entries = [...files].map(([path, bytes]) => {
      const size = bytes.byteLength
      const entry = { type: 'file', path, size, oid: gitName(bytes) }
      return size > LARGE ? { ...entry, lfs: { oid: sha256(bytes), size, pointerSize: 130 } } : entry
    })
    const { pathname, searchParams } = new URL(request.url!, hub.url)
    searchParams.set('cursor', String(from + pageSize))
    const next = from + pageSize < entries.length ? { link: `<${hub.url}${pathname}?${searchParams}>; rel="next"` } : undefined
    say(response, 200, entries.slice(from, from + pageSize), next)
  }
  const give = (request: IncomingMessage, response: ServerResponse, { commit, files }: TestRepo, path: string) => {
    const bytes = files.get(decodeURIComponent(path))
    if (!bytes) return refuse(response, 404, 'EntryNotFound')
    const about = { 'x-repo-commit': commit }
    if (bytes.byteLength <= LARGE) {
      sent += sendRange(request, response, bytes, { ...about, etag: `"${gitName(bytes)}"` })
      return
    }
    const linked = { 'x-linked-size': String(bytes.byteLength), 'x-linked-etag': `"${sha256(bytes)}"` }
    const location = `${cdn.url}/blobs/${sha256(bytes)}?Expires=1&${SIGNATURE}`
    response.writeHead(302, { ...about, ...linked, location }).end(`Found. Redirecting to ${location}`)
  }
  const hub = await oddServer((request, response) => {
    if (test.hubFault(request, response)) return
    const { pathname } = new URL(request.url!, hub.url)
    const [, api, name = '', kind, revision = '', path = ''] =
      /^(\/api\/models)?\/([^/]+\/[^/]+)\/(revision|tree|resolve)\/([^/]+)(?:\/(.*))?$/.exec(pathname) ?? []
    const repo = repos[name]
    const hasToken = request.headers.authorization === `Bearer ${TOKEN}`
    if (request.headers.authorization !== undefined && !hasToken) refuse(response, 401, 'InvalidCredentials')
    else if (!repo || (repo.access === 'private' && !hasToken)) refuse(response, hasToken ? 404 : 401, 'RepoNotFound')
    else if (!['main', repo.commit].includes(decodeURIComponent(revision))) refuse(response, 404, 'RevisionNotFound')
    else if (api && kind === 'revision')
      say(response, 200, { _id: '1', id: name, sha: repo.commit, private: false, downloads: 0, likes: 0, lastModified: '2026-01-01' })
    else if (api && kind === 'tree') list(request, response, repo)
    else if (repo.access === 'gated') refuse(response, hasToken ? 403 : 401, 'GatedRepo')
    else give(request, response, repo, path)
  })
  const test: TestHub = {
    hub,
    cdn,
    env: (cache) => ({ HF_ENDPOINT: hub.url, HF_HUB_CACHE: cache, HF_TOKEN: '', HF_HUB_OFFLINE: '' }),
    sent: () => sent,
    hubFault: () => undefined,
    cdnFault: () => undefined,
    async [Symbol.asyncDispose]() {
      await hub[Symbol.asyncDispose]()
      await cdn[Symbol.asyncDispose]()
    },
  }
  return test
}
