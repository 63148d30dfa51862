import { closeSync, constants, fsync, openSync, readSync, writeSync } from 'node:fs'
import { promisify } from 'node:util'
import { AssetError, type ErrorCode, ioError } from '../core/errors.js'
import { LEAF } from '../core/limits.js'
import { openFileSync } from '../core/read.js'
import type { ByteSource, SourceFile } from '../sources/checkpoint.js'
import { LARGEST_WINDOW, type Strided, scatter, stridedBytes, windowsOf } from '../sources/strided.js'
import { convertInto, sourceBytes } from './convert/conversion.js'
import { readElsewhere } from './elsewhere.js'
import type { Link } from './link.js'
import { type Piece, partSize } from './pieces.js'
import { type FileSums, Summer } from './sums.js'

/** Why a task failed: errors lose their class between threads. */
export interface TaskFailure {
  readonly error: { readonly code: ErrorCode; readonly message: string }
}

/** Why a batch was not written to its end, and what of it was. */
export interface WriteFailure extends TaskFailure {
  readonly written: readonly PieceSums[]
}

/** A file to be summed up: where it is, its name for errors, and its size in bytes. */
export interface ExpectedFile {
  readonly path: string
  readonly what: string
  readonly size: number
  /** where only its header is its own */
  readonly link?: Link
}

/** The sums of one written piece. */
export interface PieceSums {
  readonly file: number
  readonly at: number
  readonly sums: FileSums
}

const buffer = new Uint8Array(4 * LEAF)
const GATHERED = 4 * LEAF

/**
 * Writes a batch of pieces in order, hashing what is written; runs in a thread of the pool. While the disk takes them in
 * for good, the thread goes on with its next batch.
 */
export async function writePieces(pieces: readonly Piece[]): Promise<PieceSums[] | WriteFailure> {
  const sources = new Map<string, number>()
  const results: PieceSums[] = []
  const synced: Promise<void>[] = []
  try {
    for (const piece of pieces) {
      const { target: path } = piece
      const target =
        path === undefined ? undefined : guarded(`write ${path}`, () => openSync(path, constants.O_WRONLY | constants.O_CREAT, 0o644))
      try {
        results.push({ file: piece.file, at: piece.at, sums: writePiece(piece, target, sources) })
      } catch (error) {
        if (target !== undefined) closeSync(target)
        throw error
      }
      synced.push(target === undefined ? Promise.resolve() : syncAndClose(target, path!))
    }
    await Promise.all(synced)
    return results
  } catch (error) {
    const outcomes = await Promise.allSettled(synced)
    return { ...failure(error, 'write the asset'), written: results.filter((_, at) => outcomes[at]?.status === 'fulfilled') }
  } finally {
    for (const fd of sources.values()) closeSync(fd)
  }
}

async function syncAndClose(fd: number, path: string): Promise<void> {
  try {
    await promisify(fsync)(fd)
  } catch (error) {
    throw ioError(`write ${path}`, error)
  } finally {
    closeSync(fd)
  }
}

function writePiece(piece: Piece, target: number | undefined, sources: Map<string, number>): FileSums {
  const summer = new Summer()
  let at = piece.at
  let fill = 0
  const flush = () => {
    summer.update(buffer.subarray(0, fill))
    if (target !== undefined) guarded(`write ${piece.target}`, () => writeFully(target, fill, at))
    at += fill
    fill = 0
  }
  for (const part of piece.parts) {
    for (let done = 0; done < partSize(part); ) {
      const length = Math.min(partSize(part) - done, buffer.byteLength - fill)
      if ('bytes' in part) buffer.set(part.bytes.subarray(done, done + length), fill)
      else {
        const { source } = part
        const open = openSource(source, sources, 'to' in part ? sourceBytes(part) : part.skip + part.length)
        const target = buffer.subarray(fill, fill + length)
        if ('to' in part) convertInto(part, done, target, (into, from) => readSource(open, into, from))
        else readSource(open, target, part.skip + done)
      }
      done += length
      fill += length
      if (fill === buffer.byteLength) flush()
    }
  }
  if (fill > 0) flush()
  return summer.finish()
}

/** A source that is open: its file's descriptor, unless it is elsewhere. */
interface OpenSource {
  readonly source: ByteSource
  readonly fd: number | undefined
  /** bytes of the source, from its first on, that are needed sooner or later */
  readonly needed: number
}

function openSource(source: ByteSource, sources: Map<string, number>, needed: number): OpenSource {
  return { source, fd: source.file.isRemote ? undefined : sourceFd(source.file, sources), needed }
}

/** Opens a source once per batch and makes sure that it is still the file whose header was read. */
function sourceFd(file: SourceFile, sources: Map<string, number>): number {
  const known = sources.get(file.path)
  if (known !== undefined) return known
  const { fd, facts } = openFileSync(file.path, file.path)
  sources.set(file.path, fd)
  if (facts.size !== file.size || facts.mtimeMs !== file.mtimeMs || facts.ino !== file.ino) throw changed(file)
  return fd
}

/** Fills `target` with the bytes of a source from its byte `from` on. */
function readSource(open: OpenSource, target: Uint8Array, from: number): void {
  const { offset, strided } = open.source
  if (!strided) {
    readFully(open, target, offset + from, offset + open.needed)
    return
  }
  for (let done = 0; done < target.byteLength; ) {
    const run = gatheredRun(open, strided, from + done)
    const length = Math.min(run.byteLength, target.byteLength - done)
    target.set(run.subarray(0, length), done)
    done += length
  }
}

// Of a view some more is gathered than was asked for, and kept: its columns take few reads if many are read at once.
const gathered = { source: undefined as ByteSource | undefined, from: 0, length: 0, bytes: new Uint8Array(0), window: new Uint8Array(0) }

/** Bytes of a view from its byte `from` on, as many as there are in the run that it lies in. */
function gatheredRun(open: OpenSource, strided: Strided, from: number): Uint8Array {
  const { source } = open
  if (gathered.source !== source || from < gathered.from || from >= gathered.from + gathered.length) {
    if (gathered.bytes.byteLength === 0)
      Object.assign(gathered, { bytes: new Uint8Array(GATHERED), window: new Uint8Array(LARGEST_WINDOW) })
    const begin = Math.floor(from / GATHERED) * GATHERED
    const whole = stridedBytes(strided)
    Object.assign(gathered, { source: undefined, from: begin, length: Math.min(GATHERED, whole - begin) })
    for (const window of windowsOf(source.offset, strided, begin, gathered.length)) {
      const { position, length, dimensions, to } = window
      const into = dimensions.length === 0 ? gathered.bytes.subarray(to, to + length) : gathered.window.subarray(0, length)
      readFully(open, into, position, position + length)
      if (dimensions.length > 0) scatter(window, into, gathered.bytes)
    }
    gathered.source = source
  }
  return gathered.bytes.subarray(from - gathered.from, gathered.length)
}

/** Reads bytes of a source's file; of one that is elsewhere those up to `until` come along. */
function readFully({ fd, source: { file } }: OpenSource, target: Uint8Array, position: number, until: number): void {
  if (fd === undefined) {
    readElsewhere(file.path, target, position, until)
    return
  }
  for (let done = 0; done < target.byteLength; ) {
    const read = guarded(`read ${file.path}`, () => readSync(fd, target, done, target.byteLength - done, position + done))
    if (read === 0) throw changed(file)
    done += read
  }
}

function writeFully(fd: number, length: number, position: number): void {
  for (let done = 0; done < length; ) done += writeSync(fd, buffer, done, length - done, position + done)
}

function changed(file: SourceFile): AssetError {
  return new AssetError(
    'CORRUPT',
    `Cannot read ${file.path}: it changed or was truncated while it was read; let whatever writes it finish and try again`,
  )
}

function guarded<T>(doing: string, call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw ioError(doing, error)
  }
}

/** The sums of the bytes that lie where a piece belongs; runs in a thread of the pool. */
export function sumPiece({ target, at, size }: Piece & { readonly target: string }): FileSums | TaskFailure {
  try {
    const { fd } = openFileSync(target, target)
    try {
      const summer = new Summer()
      for (let done = 0; done < size; ) {
        const read = guarded(`read ${target}`, () => readSync(fd, buffer, 0, Math.min(buffer.byteLength, size - done), at + done))
        if (read === 0) break
        summer.update(buffer.subarray(0, read))
        done += read
      }
      return summer.finish()
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    return failure(error, `read ${target}`)
  }
}

/** The sums of a file as it is on disk; runs in a thread of the pool. Not a byte more is read than tells that it is too long. */
export function sumFile({ path, what: name, size: whole, link }: ExpectedFile): FileSums | TaskFailure {
  const what = link ? `${name}, which is linked to ${path},` : name
  try {
    const { fd, facts } = openFileSync(path, what)
    try {
      const summer = new Summer()
      const expected = link ? link.source.size : whole
      if (facts.size !== expected) throw anotherSize(what, facts.size, expected)
      if (link) summer.update(link.header)
      const [offset, size] = link ? [link.offset, link.length] : [0, whole]
      // Not where another file goes on after it.
      const more = link ? 0 : 1
      for (let at = 0; at <= size; ) {
        const length = Math.min(buffer.byteLength, size + more - at)
        const read = guarded(`read ${what}`, () => readSync(fd, buffer, 0, length, offset + at))
        at += read
        if (at > size || (read === 0 && at < size)) throw anotherSize(what, at, size)
        if (read === 0) break
        summer.update(buffer.subarray(0, read))
      }
      return summer.finish()
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    return failure(error, `read ${what}`)
  }
}

function anotherSize(what: string, found: number, expected: number): AssetError {
  return new AssetError('CORRUPT', `Cannot read ${what}: it is damaged (it has ${found} bytes, expected ${expected}); get the asset again`)
}

function failure(error: unknown, doing: string): TaskFailure {
  const { code, message } = ioError(doing, error)
  return { error: { code, message } }
}
