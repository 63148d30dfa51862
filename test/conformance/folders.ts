import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { type FolderBlock, folderBlocks } from '../../src/asset/folder-blocks.js'
import type { HashedFolder } from '../../src/asset/hash-folder.js'
import { readExactly } from '../../src/core/read.js'
import { KuboRpc } from '../../src/transport/kubo-rpc.js'
import { type Pushed, type PushOptions, pushFolder } from '../../src/transport/push.js'
import type { Kubo } from '../kubo.js'

/** All blocks of a folder at once. */
export async function blocksOf(hashed: HashedFolder): Promise<FolderBlock[]> {
  const blocks: FolderBlock[] = []
  for await (const block of folderBlocks(hashed)) blocks.push(block)
  return blocks
}

/** Pushes a folder of any kind, as it is on disk, to a daemon. */
export async function pushTo(kubo: Kubo, folder: string, hashed: HashedFolder, options: PushOptions = {}): Promise<Pushed> {
  const node = new KuboRpc(kubo.api)
  try {
    return await pushFolder({ ...hashed, read: (block, room) => bytesOf(folder, block, room) }, node, options)
  } finally {
    await node.close()
  }
}

async function bytesOf(folder: string, block: FolderBlock, room: Uint8Array): Promise<Uint8Array> {
  if ('bytes' in block) return block.bytes
  const bytes = room.subarray(0, block.length)
  const handle = await open(join(folder, block.path))
  try {
    await readExactly(handle, bytes, block.offset, block.path)
  } finally {
    await handle.close()
  }
  return bytes
}
