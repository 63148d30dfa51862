import { type Strided, stridedOf } from '../strided.js'

/**
 * How the rows of a matrix lie in a file, where transformers has another order of them: `interleaved`, the two halves of
 * each head, which are turned against each other, row by row in turns; `thirds`, the queries of all heads, then keys, then values,
 * where each head has its own three together.
 */
export type RowOrder = 'interleaved-heads' | 'interleaved-kv-heads' | 'thirds-by-head'

/** Heads of queries, and of keys and values. */
export interface HeadCounts {
  readonly heads: number
  readonly kvHeads: number
}

/**
 * Where the rows are, of `rowBytes` each, in the order that transformers has; undefined where that is their own, and where
 * so many rows are no whole heads.
 */
export function rowsInOrder(order: RowOrder, { heads, kvHeads }: HeadCounts, rows: number, rowBytes: number): Strided | undefined {
  const count = order === 'interleaved-kv-heads' ? kvHeads : heads
  const parts = order === 'thirds-by-head' ? 3 : 2
  const run = rows / count / parts
  if (!Number.isInteger(run) || run === 0) return undefined
  if (order === 'thirds-by-head') return stridedOf([count, 3, run], [run, count * run, 1], rowBytes)
  return stridedOf([count, 2, run], [2 * run, 1, 2], rowBytes)
}
