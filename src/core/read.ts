import { type FileHandle, open, readdir } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { AssetError, ioError } from './errors.js'
import { compareUtf8 } from './paths.js'

/**
 * Fills `target` from a file at `position`.
 * @throws AssetError 'CORRUPT' where the file ends early, 'IO' where reading fails.
 */
export async function readExactly(handle: FileHandle, target: Uint8Array, position: number, what: string): Promise<void> {
  let done = 0
  while (done < target.byteLength) {
    const { bytesRead } = await handle.read(target, done, target.byteLength - done, position + done).catch((error: unknown) => {
      throw ioError(`read ${what}`, error)
    })
    if (bytesRead === 0) {
      throw new AssetError(
        'CORRUPT',
        `Cannot read ${what}: the file ends at byte ${position + done}, expected ${position + target.byteLength}; it is truncated, get it again`,
      )
    }
    done += bytesRead
  }
}

/**
 * Reads a whole file of at most `limit` bytes; its size is checked before memory is allocated.
 * @throws AssetError 'LIMIT' above the limit, 'NOT_FOUND' or 'IO' where it can't be read.
 */
export async function readSmallFile(path: string, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  const handle = await open(path, 'r').catch((error: unknown) => {
    throw ioError(`open ${path}`, error)
  })
  try {
    const stat = await handle.stat()
    if (!stat.isFile()) throw new AssetError('BAD_INPUT', `Cannot read ${path}: it is not a file`)
    if (stat.size > limit) throw new AssetError('LIMIT', `Cannot read ${path}: it has ${stat.size} bytes, the limit is ${limit}`)
    const bytes = new Uint8Array(stat.size)
    await readExactly(handle, bytes, 0, path)
    return bytes
  } finally {
    await handle.close()
  }
}

/** The relative paths, with `/`, of all that lies under a folder and is no folder, in order. @throws AssetError 'NOT_FOUND' | 'IO' */
export async function listFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch((error: unknown) => {
    throw ioError(`open ${folder}`, error)
  })
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
    .sort(compareUtf8)
}
