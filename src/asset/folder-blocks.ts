import type { CID } from 'multiformats/cid'
import { leafCid } from '../core/cid.js'
import { LEAF } from '../core/limits.js'
import { fileDag } from './dag.js'
import type { HashedFolder } from './hash-folder.js'

/** A block: its bytes, or, for a leaf, which bytes of which file it is. */
export type FolderBlock =
  | { readonly cid: CID; readonly bytes: Uint8Array }
  | { readonly cid: CID; readonly path: string; readonly offset: number; readonly length: number }

/** All blocks of a folder, each once and after those that it links to, so that a root that has arrived is complete. Nothing is read. */
export async function* folderBlocks({ files, nodes }: Pick<HashedFolder, 'files' | 'nodes'>): AsyncGenerator<FolderBlock> {
  const given = new Set<string>()
  const isNew = ({ cid }: FolderBlock) => given.size < given.add(String(cid)).size
  for (const { path, size, sums } of files) {
    for (let offset = 0, at = 0; at < sums.leaves.byteLength; offset += LEAF, at += 32) {
      const block = { cid: leafCid(sums.leaves.slice(at, at + 32)), path, offset, length: Math.min(LEAF, size - offset) }
      if (isNew(block)) yield block
    }
    for (const node of (await fileDag(sums)).nodes) if (isNew(node)) yield node
  }
  for (const node of nodes) if (isNew(node)) yield node
}
