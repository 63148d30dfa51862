import { decode } from '@ipld/dag-pb'
import type { CID } from 'multiformats/cid'
import { leafCid } from '../core/cid.js'
import { AssetError } from '../core/errors.js'
import { LEAF } from '../core/limits.js'
import { type Dag, fileDag } from './dag.js'
import type { FolderBlock } from './folder-blocks.js'
import type { HashedFile } from './sums.js'

/**
 * All blocks of a folder, each once, from its root on: a node before what it links to, in the order of its links. That is the
 * order in which a gateway or Kubo writes a CAR (`order=dfs; dups=n`). Nothing is read.
 */
export async function* depthFirst({
  cid: root,
  nodes,
  files,
}: Pick<Dag, 'cid' | 'nodes'> & { files: readonly HashedFile[] }): AsyncGenerator<FolderBlock> {
  const folders = new Map(nodes.map(({ cid, bytes }) => [String(cid), bytes]))
  const fileOf = new Map(files.map((file) => [String(file.cid), file]))
  const given = new Set<string>()
  const isNew = (cid: CID) => given.size < given.add(String(cid)).size
  // The next one is last.
  const waiting = [root]
  for (let cid = waiting.pop(); cid; cid = waiting.pop()) {
    const bytes = folders.get(String(cid))
    if (bytes && isNew(cid)) {
      yield { cid, bytes }
      waiting.push(...linksOf(bytes).toReversed())
    }
    const file = bytes ? undefined : fileOf.get(String(cid))
    if (file) for await (const block of fileBlocks(file)) if (isNew(block.cid)) yield block
    if (!bytes && !file) throw new AssetError('CORRUPT', `Cannot list the blocks of ${root}: it links to ${cid}, which is not in it`)
  }
}

/** The blocks of a file from its root on, with the repeated ones. */
async function* fileBlocks({ path, size, sums }: HashedFile): AsyncGenerator<FolderBlock> {
  const { cid: root, nodes } = await fileDag(sums)
  const inner = new Map(nodes.map(({ cid, bytes }) => [String(cid), bytes]))
  const waiting = [root]
  let leaf = 0
  for (let cid = waiting.pop(); cid; cid = waiting.pop()) {
    const bytes = inner.get(String(cid))
    if (bytes) {
      yield { cid, bytes }
      waiting.push(...linksOf(bytes).toReversed())
    } else {
      const offset = leaf * LEAF
      yield { cid: leafCid(sums.leaves.slice(leaf * 32, leaf * 32 + 32)), path, offset, length: Math.min(LEAF, size - offset) }
      leaf += 1
    }
  }
}

function linksOf(node: Uint8Array): CID[] {
  return decode(node).Links.map(({ Hash }) => Hash)
}
