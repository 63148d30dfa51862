import { createHash, type Hash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import type { CID } from 'multiformats/cid'
import { LEAF, PAGE } from '../core/limits.js'
import type { Link } from './link.js'

/**
 * What is known of a file's bytes: its size, the SHA-256 of each 1 MiB leaf (32 bytes each, one after the other; an
 * empty file has one empty leaf), and the CRC-32 of each 4096-byte page.
 */
export interface FileSums {
  readonly size: number
  readonly leaves: Uint8Array
  readonly pages: Uint32Array
}

/** Leaves that a file of `size` bytes has. */
export function leafCount(size: number): number {
  return Math.max(1, Math.ceil(size / LEAF))
}

/** Pages that a file of `size` bytes has. */
export function pageCount(size: number): number {
  return Math.ceil(size / PAGE)
}

/** Sums up a run of bytes that starts on a leaf boundary, fed in pieces of any size. */
export class Summer {
  readonly #leaves: Uint8Array[] = []
  readonly #pages: number[] = []
  #hash: Hash = createHash('sha256')
  #leafFill = 0
  #pageCrc = 0
  #pageFill = 0
  #size = 0

  update(bytes: Uint8Array): void {
    this.#size += bytes.byteLength
    for (let at = 0; at < bytes.byteLength; ) {
      const piece = bytes.subarray(at, at + LEAF - this.#leafFill)
      this.#hash.update(piece)
      this.#updatePages(piece)
      this.#leafFill += piece.byteLength
      at += piece.byteLength
      if (this.#leafFill === LEAF) this.#endLeaf()
    }
  }

  #updatePages(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.byteLength; ) {
      const piece = bytes.subarray(at, at + PAGE - this.#pageFill)
      this.#pageCrc = crc32(piece, this.#pageCrc)
      this.#pageFill += piece.byteLength
      at += piece.byteLength
      if (this.#pageFill === PAGE) this.#endPage()
    }
  }

  #endPage(): void {
    this.#pages.push(this.#pageCrc)
    this.#pageCrc = 0
    this.#pageFill = 0
  }

  #endLeaf(): void {
    this.#leaves.push(this.#hash.digest())
    this.#hash = createHash('sha256')
    this.#leafFill = 0
  }

  /** The sums of all bytes fed; the summer can't be used after. */
  finish(): FileSums {
    if (this.#pageFill > 0) this.#endPage()
    if (this.#leafFill > 0 || this.#leaves.length === 0) this.#endLeaf()
    return { size: this.#size, leaves: new Uint8Array(Buffer.concat(this.#leaves)), pages: Uint32Array.from(this.#pages) }
  }
}

/** The sums of bytes at hand. */
export function sumBytes(bytes: Uint8Array): FileSums {
  const summer = new Summer()
  summer.update(bytes)
  return summer.finish()
}

/** Joins the sums of consecutive runs of one file; every run but the last must end on a leaf boundary. */
export function joinSums(runs: readonly FileSums[]): FileSums {
  if (runs.length === 1) return runs[0]!
  const pages = new Uint32Array(runs.reduce((n, run) => n + run.pages.length, 0))
  let at = 0
  for (const run of runs) {
    pages.set(run.pages, at)
    at += run.pages.length
  }
  return { size: runs.reduce((n, run) => n + run.size, 0), leaves: new Uint8Array(Buffer.concat(runs.map((run) => run.leaves))), pages }
}

/** A file of an asset: where it is in the folder, what it is by content. */
export interface AssetFile {
  readonly path: string
  readonly cid: CID
  readonly size: number
}

/** A file with all that is known of its bytes. */
export interface HashedFile extends AssetFile {
  readonly sums: FileSums
  /** it was hashed where it lies, and not written */
  readonly link?: Link
}
