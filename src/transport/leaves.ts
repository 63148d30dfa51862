import * as raw from 'multiformats/codecs/raw'
import { type AssetFile, leafCount } from '../asset/sums.js'
import { AssetError } from '../core/errors.js'
import { LEAF } from '../core/limits.js'
import type { Blocks } from './blocks.js'
import { decodeNode, type Part } from './unixfs.js'
import { blockLimit, inlineBytes } from './verified.js'

// 1024 links a node and 1 MiB a leaf: a file of 2^53 bytes has four levels above its leaves.
const MOST_LEVELS = 4

/**
 * The digests of a file's leaves, 32 bytes each, out of the blocks above them, for a file whose leaves are all of 1 MiB but the last.
 * Whether they are those of its CID is not known yet: whoever takes them rebuilds the DAG.
 * @throws AssetError 'BAD_INPUT' where the DAG is not one of a file of `size` bytes, and what `blocks` throws
 */
export async function leafDigests(
  { cid, size }: Pick<AssetFile, 'cid' | 'size'>,
  blocks: Blocks,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const digests = new Uint8Array(leafCount(size) * 32)
  const bad = (why: string) => new AssetError('BAD_INPUT', `Cannot take ${cid} for a file of ${size} bytes: ${why}`)
  const visit = async (part: Part, offset: number, level: number): Promise<void> => {
    const limit = blockLimit(part.cid)
    // Each part begins with a leaf and has at least one, so there are no more parts than leaves on any level.
    if (offset % LEAF !== 0 || part.size === 0) throw bad(`a part of ${part.size} bytes is at byte ${offset}`)
    if (part.cid.code === raw.code) {
      if (part.size !== Math.min(LEAF, size - offset) || inlineBytes(part.cid))
        throw bad(`it has the leaf ${part.cid} of ${part.size} bytes`)
      digests.set(part.cid.multihash.digest, (offset / LEAF) * 32)
      return
    }
    if (level > MOST_LEVELS) throw bad(`its DAG has more than ${MOST_LEVELS} levels`)
    const node = decodeNode(await blocks(part.cid, { limit, signal }), `the block ${part.cid} of the file ${cid}`)
    if (node.kind !== 'file') throw bad(`its block ${part.cid} is a folder`)
    if (node.size !== part.size || node.data.byteLength > 0) throw bad(`its block ${part.cid} is one of ${node.size} bytes`)
    let at = offset
    for (const child of node.parts) {
      await visit(child, at, level + 1)
      at += child.size
    }
  }
  await visit({ cid, size }, 0, 1)
  return digests
}
