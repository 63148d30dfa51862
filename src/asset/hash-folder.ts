import { isUtf8 } from 'node:buffer'
import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { AssetError, ioError, throwIfAborted } from '../core/errors.js'
import { inLanes } from '../core/lanes.js'
import { LIMITS } from '../core/limits.js'
import { compareUtf8 } from '../core/paths.js'
import type { LongCall } from '../core/progress.js'
import { type Dag, folderDag } from './dag.js'
import { hashFiles } from './file-pool.js'
import type { AssetFile, HashedFile } from './sums.js'

/** Files that are looked up at the same time. */
export const LOOKUPS_AT_ONCE = 16

/** A folder as UnixFS: its DAG, of which `nodes` are the folders' blocks, root last, and all files in it, ordered by path. */
export interface HashedFolder extends Dag {
  readonly files: readonly HashedFile[]
}

/**
 * Hashes a folder of any kind as it is on disk, with its hidden files and empty folders; every byte is read once. Same CID
 * as `ipfs add -r --hidden` with the profile unixfs-v1-2025. Times, modes and owners are no part of it.
 * @throws AssetError 'BAD_INPUT' for what is neither file nor folder (links are not followed) or has a name that is not
 *   UTF-8; 'LIMIT' for too many files and folders, or bytes; 'CORRUPT' where a file changes meanwhile; 'NOT_FOUND', 'IO', 'ABORTED'
 */
export async function hashFolder(folder: string, options: LongCall = {}): Promise<HashedFolder> {
  const { paths, folders } = await listFolder(folder, options.signal)
  const files: Pick<AssetFile, 'path' | 'size'>[] = []
  let total = 0
  await inLanes(paths, LOOKUPS_AT_ONCE, async (path) => {
    const { size } = await lstat(join(folder, path)).catch((error: unknown) => {
      throw ioError(`read ${join(folder, path)}`, error)
    })
    files.push({ path, size })
    total += size
  })
  if (total > LIMITS.assetBytes)
    throw new AssetError('LIMIT', `Cannot hash ${folder}: its files have more than ${LIMITS.assetBytes} bytes; divide it`)
  files.sort((a, b) => compareUtf8(a.path, b.path))
  const hashed = await hashFiles(folder, files, options)
  return { ...(await folderDag(hashed, folders)), files: hashed }
}

/**
 * The relative paths, with `/`, of the files under a folder and of the folders under it.
 * @throws AssetError 'BAD_INPUT' for what is neither, or has a name that is not UTF-8; 'LIMIT', 'NOT_FOUND', 'IO', 'ABORTED'
 */
export async function listFolder(root: string, signal: AbortSignal | undefined): Promise<{ paths: string[]; folders: string[] }> {
  const paths: string[] = []
  const folders = ['']
  for (const folder of folders) {
    throwIfAborted(signal, `hash ${root}`)
    const place = join(root, folder)
    // As bytes, since two names that are not UTF-8 could be the same text.
    const entries = await readdir(place, { withFileTypes: true, encoding: 'buffer' }).catch((error: unknown) => {
      throw ioError(`open ${place}`, error)
    })
    for (const entry of entries) {
      const name = entry.name.toString()
      const path = folder === '' ? name : `${folder}/${name}`
      if (!isUtf8(entry.name)) throw new AssetError('BAD_INPUT', `Cannot hash ${join(root, path)}: its name is not UTF-8; rename it`)
      if (entry.isDirectory()) folders.push(path)
      else if (entry.isFile()) paths.push(path)
      else
        throw new AssetError('BAD_INPUT', `Cannot hash ${join(root, path)}: it is neither a file nor a folder; put the file itself there`)
    }
    if (paths.length + folders.length > LIMITS.files)
      throw new AssetError('LIMIT', `Cannot hash ${root}: it holds more than ${LIMITS.files} files and folders; divide it`)
  }
  return { paths, folders: folders.slice(1) }
}
