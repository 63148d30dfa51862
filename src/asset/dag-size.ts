import { LEAF } from '../core/limits.js'
import { leafCount } from './sums.js'

const LINKS = 1024
const CID_BYTES = 36

interface Subtree {
  /** bytes of the file below */
  readonly file: number
  /** bytes of all blocks below and of its own (Tsize) */
  readonly dag: number
}

/**
 * Bytes of the whole DAG of a file of `size` bytes, which a folder's links carry (Tsize). Under the profile
 * unixfs-v1-2025 it depends on the size alone: leaves of 1 MiB, up to 1024 links a node; so no block is made to know it,
 * whatever size a manifest claims.
 * Source: the messages PBNode and PBLink of DAG-PB, and Data of UnixFS.
 */
export function dagSizeOf(size: number): number {
  if (size <= LEAF) return size
  // All nodes of a level are alike but for the last, so two are enough to know a level.
  let count = leafCount(size)
  let whole: Subtree = { file: LEAF, dag: LEAF }
  const rest = size - (count - 1) * LEAF
  let last: Subtree = { file: rest, dag: rest }
  while (count > 1) {
    const parents = Math.ceil(count / LINKS)
    last = parentOf(whole, count - (parents - 1) * LINKS - 1, last)
    if (parents > 1) whole = parentOf(whole, LINKS - 1, whole)
    count = parents
  }
  return last.dag
}

/** A node over `count` equal subtrees and a last one. */
function parentOf(each: Subtree, count: number, last: Subtree): Subtree {
  const file = each.file * count + last.file
  const unixfs = 2 + 1 + varint(file) + count * (1 + varint(each.file)) + 1 + varint(last.file)
  const own = 1 + varint(unixfs) + unixfs + count * link(each.dag) + link(last.dag)
  return { file, dag: own + each.dag * count + last.dag }
}

/** Bytes of one link: CID, empty name, Tsize. */
function link(dag: number): number {
  const body = 2 + CID_BYTES + 2 + 1 + varint(dag)
  return 1 + varint(body) + body
}

function varint(value: number): number {
  let bytes = 1
  for (let left = value; left >= 128; left = Math.floor(left / 128)) bytes += 1
  return bytes
}
