import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { CID } from 'multiformats/cid'
import { folderBlocks } from '../../src/asset/folder-blocks.js'
import { hashFolder } from '../../src/asset/hash-folder.js'
import { encodeManifest, MANIFEST } from '../../src/asset/manifest.js'
import { AssetError } from '../../src/core/errors.js'
import type { Blocks } from '../../src/transport/blocks.js'
import type { temporary } from '../sources/files.js'

type Folder = Awaited<ReturnType<typeof temporary>>

/** Bytes that look like nothing else: the same for the same seed. */
export function noise(size: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(size)
  let state = seed + 1
  for (let at = 0; at < size; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    bytes[at] = state >>> 24
  }
  return bytes
}

/** Writes an asset folder that holds these files. */
export async function writeAssetFolder(folder: Folder, name: string, files: Record<string, Uint8Array>): Promise<string> {
  for (const [path, bytes] of Object.entries(files)) await folder.write(`${name}/${path}`, bytes)
  const { files: hashed } = await hashFolder(join(folder.path, name))
  const manifest = { kind: 'dataset' as const, files: new Map(hashed.map(({ path, cid, size }) => [path, { path, cid, size }])) }
  await folder.write(`${name}/${MANIFEST}`, encodeManifest(manifest))
  return join(folder.path, name)
}

/** The blocks of a DAG in memory, and which of them were asked for. */
export interface Source {
  readonly cid: CID
  readonly all: Map<string, Uint8Array>
  readonly asked: string[]
  readonly blocks: Blocks
}

/** A source of the given blocks, which breaks off after `most` of them. */
export function sourceOf(cid: CID, all: Map<string, Uint8Array>, most = Number.POSITIVE_INFINITY): Source {
  const asked: string[] = []
  let left = most
  const blocks: Blocks = async (wanted, { limit, signal }) => {
    if (left-- <= 0) throw new AssetError('IO', 'Cannot get a block: the connection is gone')
    // As a retriever: in time, within the limit, and not when it is no longer wanted.
    await new Promise((resolve) => setImmediate(resolve))
    if (signal?.aborted) throw new AssetError('ABORTED', 'Cannot finish to get a block: it was cancelled')
    const bytes = all.get(String(wanted))
    if (!bytes) throw new AssetError('NOT_FOUND', `Cannot get the block ${wanted}: no source has it`)
    if (bytes.byteLength > limit) throw new AssetError('LIMIT', `Cannot get the block ${wanted}: it is above the limit`)
    asked.push(String(wanted))
    return bytes
  }
  return { cid, all, asked, blocks }
}

/** All blocks of a folder on disk. */
export async function folderSource(folder: string): Promise<Source> {
  const hashed = await hashFolder(folder)
  const all = new Map<string, Uint8Array>()
  for await (const block of folderBlocks(hashed)) {
    const bytes =
      'bytes' in block ? block.bytes : (await readFile(join(folder, block.path))).subarray(block.offset, block.offset + block.length)
    all.set(String(block.cid), new Uint8Array(bytes))
  }
  return sourceOf(hashed.cid, all)
}
