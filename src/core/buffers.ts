import { LEAF } from './limits.js'

const MOST_FREE = 32
// What is smaller, such as nodes, costs less than a whole leaf's memory that is not given back.
const LEAST_LENT = 64 * 1024
const free: ArrayBuffer[] = []
const lent = new WeakSet<ArrayBufferLike>()

/**
 * Bytes for a block of at most a leaf's size, which may hold anything. They are used again when they are given back; whoever does
 * not do that leaves them to the garbage collector, which a new megabyte for each of thousands of blocks keeps busy.
 */
export function lend(size: number): Uint8Array<ArrayBuffer> {
  if (size < LEAST_LENT) return new Uint8Array(size)
  const buffer = free.pop() ?? new ArrayBuffer(LEAF)
  lent.add(buffer)
  return new Uint8Array(buffer, 0, size)
}

/** Gives back bytes that nobody looks at any more; those that were not lent stay what they are. */
export function giveBack({ buffer }: Uint8Array): void {
  if (lent.delete(buffer) && free.length < MOST_FREE) free.push(buffer as ArrayBuffer)
}
