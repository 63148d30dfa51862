import type { ByteSource, SourceFile } from '../sources/checkpoint.js'
import type { ConvertedPart } from './convert/conversion.js'

/** A run of a source's bytes as they are; `skip` bytes of it come before. */
export interface SourcePart {
  readonly source: ByteSource
  readonly skip: number
  readonly length: number
}

/** Bytes that go into a file: given, those of a source, or what a tensor of one becomes. */
export type Part = { readonly bytes: Uint8Array } | SourcePart | ConvertedPart

/** A file to be written: its path in the asset folder and its parts in order. */
export interface PlannedFile {
  readonly path: string
  readonly size: number
  readonly parts: readonly Part[]
}

/** A run of one file's bytes, starting on a leaf boundary at byte `at`: the unit of work of the write pool. */
export interface Piece {
  readonly file: number
  /** where it is written; it is only hashed where there is none */
  readonly target: string | undefined
  readonly at: number
  readonly size: number
  readonly parts: readonly Part[]
}

/** The size in bytes of one part. */
export function partSize(part: Part): number {
  return 'bytes' in part ? part.bytes.byteLength : part.length
}

/** True for a file that is made of bytes which are not on this disk. */
export function isRemote({ parts }: Pick<PlannedFile, 'parts'>): boolean {
  return parts.some((part) => 'source' in part && part.source.file.isRemote)
}

/** A whole file as a part of another. */
export function wholeFile(file: SourceFile): SourcePart {
  return { source: { file, offset: 0 }, skip: 0, length: file.size }
}

/** A file made of the given parts. */
export function plannedFile(path: string, parts: readonly Part[]): PlannedFile {
  return { path, parts, size: parts.reduce((sum, part) => sum + partSize(part), 0) }
}

/** The parts of bytes `from` to `to` of a file. */
export function sliceParts(parts: readonly Part[], from: number, to: number): Part[] {
  const sliced: Part[] = []
  let start = 0
  for (const part of parts) {
    const size = partSize(part)
    const [begin, end] = [Math.max(from - start, 0), Math.min(to - start, size)]
    if (begin < end) {
      if ('bytes' in part) sliced.push({ bytes: part.bytes.subarray(begin, end) })
      else sliced.push({ ...part, skip: part.skip + begin, length: end - begin })
    }
    start += size
  }
  return sliced
}

/**
 * Cuts files into batches of pieces of at most about `batchBytes`: small files share a batch, a large one is cut on
 * multiples of `batchBytes` (itself a multiple of the leaf size), so that every core has work whatever the sizes.
 */
export function batchPieces(files: readonly PlannedFile[], targetOf: (path: string) => string | undefined, batchBytes: number): Piece[][] {
  const batches: Piece[][] = []
  let current: Piece[] = []
  let fill = 0
  for (const [file, { path, size, parts }] of files.entries()) {
    let at = 0
    do {
      const length = Math.min(size - at, batchBytes)
      current.push({ file, target: targetOf(path), at, size: length, parts: sliceParts(parts, at, at + length) })
      at += length
      fill += length
      if (fill >= batchBytes || current.length >= 64) {
        batches.push(current)
        current = []
        fill = 0
      }
    } while (at < size)
  }
  if (current.length > 0) batches.push(current)
  return batches
}
