import { randomBytes } from 'node:crypto'
import { type FileHandle, mkdir, open, readdir, rename, rm, rmdir, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { CID } from 'multiformats/cid'
import { AssetError, ioError, systemCode } from '../core/errors.js'
import type { LongCall } from '../core/progress.js'
import { type DagNode, folderDag } from './dag.js'
import { writeFiles } from './file-pool.js'
import { fingerprint, Journal } from './journal.js'
import type { Link } from './link.js'
import { encodeManifest, MANIFEST, type Manifest } from './manifest.js'
import type { PlannedAsset } from './model-asset.js'
import { isRemote, plannedFile } from './pieces.js'
import type { HashedFile } from './sums.js'

/** An asset that lies in a folder, complete: its CID, manifest, files (the manifest among them) and folder blocks. */
export interface WrittenAsset {
  readonly cid: CID
  readonly manifest: Manifest
  readonly files: readonly HashedFile[]
  readonly nodes: readonly DagNode[]
  /** for people: why it has no graph, where that is so */
  readonly whyNoGraph?: string
  /** for people: what else of the checkpoint is not in it, and why */
  readonly notes?: readonly string[]
}

/** What {@link writeAsset} takes beside the plan. */
export interface WriteOptions extends LongCall {
  readonly journal?: Journal | undefined
  /** files by their paths that are only hashed, since they stay where they are */
  readonly links?: ReadonlyMap<string, Link>
}

/**
 * Writes a planned asset into an existing folder, empty but for what the journal says that is there, the manifest last;
 * everything is synced to disk.
 * @throws AssetError
 */
export async function writeAsset(plan: PlannedAsset, folder: string, options: WriteOptions = {}): Promise<WrittenAsset> {
  const { links } = options
  const targetOf = (path: string) => join(folder, path)
  const written = plan.files.filter(({ path }) => !links?.has(path))
  const folders = new Set(written.map(({ path }) => dirname(targetOf(path))))
  for (const path of folders) {
    await mkdir(path, { recursive: true }).catch((error: unknown) => {
      throw ioError(`create ${path}`, error)
    })
  }
  // Of an earlier run, which may have given it another name.
  if (options.journal) await rm(targetOf(MANIFEST), { force: true })
  const files = await writeFiles(plan.files, (path) => (links?.has(path) ? undefined : targetOf(path)), options)
  const linked = files.map((file) => ({ ...file, ...(links?.has(file.path) && { link: links.get(file.path)! }) }))
  return sealAsset(plan, linked, folder)
}

/** Writes the manifest over files that are in the folder already, and gives the asset that the folder now is. */
export async function sealAsset(about: Omit<PlannedAsset, 'files'>, files: readonly HashedFile[], folder: string): Promise<WrittenAsset> {
  const { kind, name, main, config, whyNoGraph, notes } = about
  const byPath = new Map(files.map(({ path, cid, size }) => [path, { path, cid, size }]))
  const manifest = {
    kind,
    files: byPath,
    ...(name !== undefined && { name }),
    ...(main !== undefined && { main }),
    ...(config !== undefined && { config }),
  }
  const [written] = await writeFiles([plannedFile(MANIFEST, [{ bytes: encodeManifest(manifest) }])], (path) => join(folder, path))
  const all = [...files, written!]
  const { cid, nodes } = await folderDag(all)
  return { cid, manifest, files: all, nodes, ...(whyNoGraph !== undefined && { whyNoGraph }), ...(notes && { notes }) }
}

/**
 * Writes a planned asset as a new folder `out`: into a sibling first, renamed when it is complete, so that nothing
 * half-written ever has the name.
 * @throws AssetError 'BAD_USAGE' where `out` exists and is not empty; 'IO' (a full disk, ...); nothing stays then, unless bytes
 *   come from elsewhere: then the sibling does, and the next call goes on with it.
 */
export function writeAssetFolder(plan: PlannedAsset, out: string, options: LongCall = {}): Promise<WrittenAsset> {
  if (!plan.files.some(isRemote)) return intoNewFolder(out, (staging) => writeAsset(plan, staging, options))
  const fill = async (staging: string) => {
    const journal = await Journal.open(join(dirname(staging), 'journal'))
    return writeAsset(plan, staging, { ...options, journal })
  }
  return intoNewFolder(out, fill, fingerprint(plan.files))
}

/**
 * Makes a new folder `out` of what `fill` writes into a sibling of it; the name appears when it is complete. With a name for what
 * is made, that is a folder in the sibling, which stays where it fails.
 */
export async function intoNewFolder<T>(out: string, fill: (staging: string) => Promise<T>, unfinished?: string): Promise<T> {
  const target = resolve(out)
  await checkVacant(target)
  const use = async (staging: string) => {
    const result = await fill(staging)
    // The names inside are safe before the folder has its own, or a crash could leave it with some of its files.
    await syncTree(staging)
    await rmdir(target).catch(() => undefined)
    await rename(staging, target)
    try {
      await syncFolder(dirname(target))
    } catch (error) {
      await rm(target, { recursive: true, force: true })
      throw error
    }
    return result
  }
  if (unfinished === undefined) return withStaging(target, use)
  const sibling = join(dirname(target), `.${basename(target)}.unfinished-${unfinished.slice(0, 16)}`)
  const staging = join(sibling, 'asset')
  try {
    await makeFolder(staging)
    const result = await use(staging)
    await rm(sibling, { recursive: true, force: true }).catch(() => undefined)
    return result
  } catch (error) {
    throw ioError(`write the asset folder ${out}`, error)
  }
}

/** Makes a sibling of a folder for work in progress; whatever is left of it when `use` is done is removed. */
export async function withStaging<T>(folder: string, use: (staging: string) => Promise<T>): Promise<T> {
  const target = resolve(folder)
  const staging = join(dirname(target), `.${basename(target)}.partial-${process.pid}-${randomBytes(4).toString('hex')}`)
  try {
    await makeFolder(staging)
    return await use(staging)
  } catch (error) {
    throw ioError(`write the asset folder ${folder}`, error)
  } finally {
    // What can't be removed must not hide how the call ended.
    await rm(staging, { recursive: true, force: true }).catch(() => undefined)
  }
}

async function checkVacant(target: string): Promise<void> {
  try {
    if ((await readdir(target)).length === 0) return
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return
    if (systemCode(error) !== 'ENOTDIR') throw ioError(`write ${target}`, error)
  }
  throw new AssetError('BAD_USAGE', `Cannot write ${target}: it exists already; name a new folder or remove it first`)
}

/**
 * Makes a folder and those above it that are missing; their names are durable when this resolves. Step by step: Node's
 * own recursive mkdir never ends where a folder that is there refuses new ones as if it weren't, as /proc does.
 */
export async function makeFolder(folder: string): Promise<void> {
  const path = resolve(folder)
  if ((await stat(path).catch(() => undefined))?.isDirectory()) return
  if (dirname(path) !== path) await makeFolder(dirname(path))
  try {
    await mkdir(path)
  } catch (error) {
    // Another process may have been faster.
    if (!(await stat(path).catch(() => undefined))?.isDirectory()) throw error
  }
  await syncFolder(dirname(path))
}

/** Makes the names in a folder durable; where a platform can't (Windows), the rename alone has to do. */
export async function syncFolder(folder: string): Promise<void> {
  let handle: FileHandle | undefined
  try {
    handle = await open(folder, 'r')
    await handle.sync()
  } catch (error) {
    if (!['EISDIR', 'EPERM', 'EACCES', 'EINVAL'].includes(systemCode(error) ?? '')) throw ioError(`write ${folder}`, error)
  } finally {
    await handle?.close()
  }
}

/** The same for a folder and all folders in it. */
async function syncTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }))
    if (entry.isDirectory()) await syncFolder(join(entry.parentPath, entry.name))
  await syncFolder(folder)
}
