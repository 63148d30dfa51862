import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { type FolderBlock, folderBlocks } from '../../src/asset/folder-blocks.js'
import type { HashedFolder } from '../../src/asset/hash-folder.js'
import { readExactly } from '../../src/core/read.js'
import type { Kubo } from '../kubo.js'

const BATCH = 2000

/** All blocks of a folder at once. */
export async function blocksOf(hashed: HashedFolder): Promise<FolderBlock[]> {
  const blocks: FolderBlock[] = []
  for await (const block of folderBlocks(hashed)) blocks.push(block)
  return blocks
}

/** Puts every block of a folder into a daemon by its RPC, which hashes each anew; gives [our CID, the daemon's] of each. */
export async function putBlocks(kubo: Kubo, folder: string, hashed: HashedFolder): Promise<[string, string][]> {
  const put: [string, string][] = []
  const blocks = await blocksOf(hashed)
  for (const codec of ['raw', 'dag-pb'] as const) {
    const isOfCodec = ({ cid }: FolderBlock) => (cid.code === 0x55) === (codec === 'raw')
    const wanted = blocks.filter(isOfCodec)
    for (let at = 0; at < wanted.length; at += BATCH) put.push(...(await putBatch(kubo, codec, folder, wanted.slice(at, at + BATCH))))
  }
  return put
}

async function putBatch(kubo: Kubo, codec: string, folder: string, blocks: readonly FolderBlock[]): Promise<[string, string][]> {
  const form = new FormData()
  for (const block of blocks) form.append('data', new Blob([await bytesOf(folder, block)]), 'block')
  const response = await fetch(`${kubo.api}/api/v0/block/put?cid-codec=${codec}&pin=false`, { method: 'POST', body: form })
  const lines = (await response.text()).trimEnd().split('\n')
  return blocks.map(({ cid }, index) => [String(cid), JSON.parse(lines[index] ?? '{}').Key])
}

async function bytesOf(folder: string, block: FolderBlock): Promise<Uint8Array<ArrayBuffer>> {
  if ('bytes' in block) return new Uint8Array(block.bytes)
  const bytes = new Uint8Array(block.length)
  const handle = await open(join(folder, block.path))
  try {
    await readExactly(handle, bytes, block.offset, block.path)
  } finally {
    await handle.close()
  }
  return bytes
}
