import { closeSync, constants, fstatSync, openSync, type Stats } from 'node:fs'
import { type FileHandle, open, readdir } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { AssetError, ioError } from './errors.js'
import { compareUtf8 } from './paths.js'

// Without waiting, should it be a pipe.
const READING = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)

/**
 * Opens a file for reading, to be closed by the caller. `what` names it in errors; `flags` are added to those of reading.
 * @throws AssetError 'NOT_FOUND' or 'IO' where it can't be opened, 'BAD_INPUT' where it is not a file
 */
export async function openFile(path: string, what: string, flags = 0): Promise<{ handle: FileHandle; facts: Stats }> {
  const handle = await open(path, READING | flags).catch((error: unknown) => {
    throw ioError(`open ${what}`, error)
  })
  try {
    const facts = await handle.stat()
    if (!facts.isFile()) throw noFile(what)
    return { handle, facts }
  } catch (error) {
    await handle.close()
    throw ioError(`open ${what}`, error)
  }
}

/** The same for threads that do nothing else meanwhile. */
export function openFileSync(path: string, what: string): { fd: number; facts: Stats } {
  let fd: number | undefined
  try {
    fd = openSync(path, READING)
    const facts = fstatSync(fd)
    if (!facts.isFile()) throw noFile(what)
    return { fd, facts }
  } catch (error) {
    if (fd !== undefined) closeSync(fd)
    throw ioError(`open ${what}`, error)
  }
}

function noFile(what: string): AssetError {
  return new AssetError('BAD_INPUT', `Cannot read ${what}: it is not a file; put the file itself there`)
}

/** Opens a file as {@link openFile} does, hands it over, and closes it. @throws AssetError */
export async function withFile<T>(path: string, what: string, use: (handle: FileHandle, facts: Stats) => Promise<T>): Promise<T> {
  const { handle, facts } = await openFile(path, what)
  try {
    return await use(handle, facts)
  } finally {
    await handle.close()
  }
}

/** What can be read by ranges: a file on disk as Node opens it, or one that is elsewhere. */
export interface Readable {
  /** Fills `target` from its byte `at` on with up to `length` bytes of the file from `position` on. */
  read(target: Uint8Array, at: number, length: number, position: number): Promise<{ readonly bytesRead: number }>
}

/**
 * Fills `target` from a file at `position`.
 * @throws AssetError 'CORRUPT' where the file ends early, 'IO' where reading fails.
 */
export async function readExactly(handle: Readable, target: Uint8Array, position: number, what: string): Promise<void> {
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
export function readSmallFile(path: string, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  return withFile(path, path, (handle, { size }) => readWhole(handle, size, limit, path))
}

/** Reads a file of `size` bytes that is open as {@link readSmallFile} does. @throws AssetError 'LIMIT' | 'CORRUPT' | 'IO' */
export async function readWhole(handle: Readable, size: number, limit: number, what: string): Promise<Uint8Array<ArrayBuffer>> {
  if (size > limit) throw new AssetError('LIMIT', `Cannot read ${what}: it has ${size} bytes, the limit is ${limit}`)
  const bytes = new Uint8Array(size)
  await readExactly(handle, bytes, 0, what)
  return bytes
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
