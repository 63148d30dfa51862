import { createHash } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs'

/** Reads `length` bytes of a file from `offset`, hashes them leaf by leaf and, with a target, writes them: the bound of fragmenting. */
export function readAndHash({ path, offset, length, target }: { path: string; offset: number; length: number; target?: string }): number {
  const leaf = new Uint8Array(1024 * 1024)
  const from = openSync(path, 'r')
  const to = target === undefined ? undefined : openSync(target, 'w')
  for (let at = 0; at < length; at += leaf.byteLength) {
    const read = readSync(from, leaf, 0, Math.min(leaf.byteLength, length - at), offset + at)
    createHash('sha256').update(leaf.subarray(0, read)).digest()
    if (to !== undefined) writeSync(to, leaf, 0, read)
  }
  closeSync(from)
  if (to !== undefined) {
    fsyncSync(to)
    closeSync(to)
  }
  return length
}
