import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Blocks } from '../../src/transport/blocks.js'
import { folderSource } from '../transport/assets.js'

/** Writes every block of a folder as a file of its own into `into`; gives the CID. */
export async function writeBlocks(folder: string, into: string): Promise<string> {
  const { cid, all } = await folderSource(folder)
  mkdirSync(into, { recursive: true })
  for (const [key, bytes] of all) writeFileSync(join(into, key), bytes)
  return String(cid)
}

/** The blocks in such a folder; `most` of them, then no more. Each that is asked for is a line of `log`. */
export function blocksIn(folder: string, { most = Number.POSITIVE_INFINITY, log = '' } = {}): Blocks {
  let left = most
  return async (cid) => {
    if (left-- <= 0) throw new Error('the connection is gone')
    const bytes = new Uint8Array(readFileSync(join(folder, String(cid))))
    if (log !== '') appendFileSync(log, `fetched ${cid}\n`)
    return bytes
  }
}
