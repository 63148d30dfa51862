import { LEAF } from '../core/limits.js'
import type { FileRange } from '../store/arriving-asset.js'
import type { ComingFile } from './coming-file.js'

/** A leaf to fetch. */
export interface Wanted {
  readonly file: ComingFile
  readonly leaf: number
}

interface Run {
  readonly file: ComingFile
  readonly from: number
  readonly to: number
}

/** Leaves in an order, each taken on by whoever gets it. */
export class LeafOrder {
  private run = 0
  private leaf = 0

  private constructor(private readonly runs: readonly Run[]) {}

  /** All leaves of files, one file after the other. */
  static whole(files: Iterable<ComingFile>): LeafOrder {
    return new LeafOrder([...files].map((file) => ({ file, from: 0, to: file.leaves })))
  }

  /** The leaves that hold the ranges, in their order; ranges of files that don't arrive are left out. */
  static of(ranges: readonly FileRange[], fileAt: (path: string) => ComingFile | undefined): LeafOrder {
    return new LeafOrder(
      ranges.flatMap(({ path, offset, length }) => {
        const file = fileAt(path)
        const to = Math.min(file?.leaves ?? 0, Math.ceil((offset + length) / LEAF))
        return file && length > 0 ? [{ file, from: Math.floor(offset / LEAF), to }] : []
      }),
    )
  }

  next(): Wanted | undefined {
    for (; this.run < this.runs.length; this.run++, this.leaf = 0) {
      const { file, from, to } = this.runs[this.run]!
      for (; from + this.leaf < to; this.leaf++) {
        const leaf = from + this.leaf
        if (!file.isFinished && file.take(leaf)) return { file, leaf }
      }
    }
    return undefined
  }

  /** The next files after the one in turn: to be opened ahead. */
  ahead(count: number): ComingFile[] {
    return this.runs.slice(this.run + 1, this.run + 1 + count).map(({ file }) => file)
  }
}
