import { constants } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { ioError } from '../core/errors.js'
import { openFile, withFile } from '../core/read.js'

/** How fast files were read; bytes per second. */
export interface DiskSpeed {
  readonly bytesPerSecond: number
  /** false where the system would not read past its page cache: what was read may have been in memory already */
  readonly direct: boolean
}

const CHUNK = 4 * 1024 * 1024
const MOST = 256 * 1024 * 1024
const IN_FLIGHT = 3
const BLOCK = 4096

/**
 * Reads up to 256 MiB of the given files, largest first, three reads in flight, past the page cache where the system
 * allows that.
 * @throws AssetError 'NOT_FOUND' | 'BAD_INPUT' where one is not a file | 'IO'
 */
export async function diskSpeed(files: readonly { readonly path: string; readonly size: number }[]): Promise<DiskSpeed> {
  const chosen = [...files].sort((a, b) => b.size - a.size).slice(0, 64)
  // Opened plainly first: a direct open of what is no file fails without saying so.
  for (const { path } of chosen) await withFile(path, path, async () => undefined)
  const reads = chosen
    .flatMap(({ path, size }) => Array.from({ length: Math.ceil(size / CHUNK) }, (_, i) => ({ path, at: i * CHUNK })))
    .slice(0, MOST / CHUNK)
  const first = reads[0]
  const buffers = first && (await directBuffers(first.path))
  const flags = buffers ? constants.O_DIRECT : 0
  const handles = new Map<string, FileHandle>()
  try {
    // Before the clock starts: whoever runs a model opens its files once.
    for (const { path } of reads) if (!handles.has(path)) handles.set(path, (await openFile(path, path, flags)).handle)
    let next = 0
    let bytes = 0
    const lane = async (target: Uint8Array) => {
      for (let read = reads[next++]; read; read = reads[next++])
        bytes += await handles
          .get(read.path)!
          .read(target, 0, CHUNK, read.at)
          .then(({ bytesRead }) => bytesRead, failed(read.path))
    }
    const started = performance.now()
    await Promise.all((buffers ?? manyBuffers()).map(lane))
    return { bytesPerSecond: (bytes / Math.max(performance.now() - started, 0.001)) * 1000, direct: buffers !== undefined }
  } finally {
    for (const handle of handles.values()) await handle.close()
  }
}

function failed(path: string): (error: unknown) => never {
  return (error) => {
    throw ioError(`read ${path}`, error)
  }
}

function manyBuffers(): Uint8Array[] {
  return Array.from({ length: IN_FLIGHT }, () => new Uint8Array(CHUNK + BLOCK))
}

/** Buffers that a direct read of this file takes; undefined where the system has no such reads. */
async function directBuffers(path: string): Promise<Uint8Array[] | undefined> {
  if (!constants.O_DIRECT) return undefined
  const handle = await openFile(path, path, constants.O_DIRECT).then(
    (opened) => opened.handle,
    () => undefined,
  )
  try {
    const found: Uint8Array[] = []
    for (const buffer of handle ? manyBuffers() : []) {
      const aligned = await align(handle!, buffer)
      if (aligned) found.push(aligned)
    }
    return found.length === IN_FLIGHT ? found : undefined
  } finally {
    await handle?.close()
  }
}

/** The part of a buffer that lies as the disk wants it: JavaScript can't see addresses, but it can try. */
async function align(handle: FileHandle, buffer: Uint8Array): Promise<Uint8Array | undefined> {
  for (let offset = 0; offset < BLOCK; offset += 16) {
    const part = buffer.subarray(offset, offset + CHUNK)
    const fits = await handle.read(part, 0, BLOCK, 0).then(
      () => true,
      () => false,
    )
    if (fits) return part
  }
  return undefined
}
