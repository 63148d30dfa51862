import type { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { MANIFEST } from '../asset/manifest.js'
import { leafCid } from '../core/cid.js'
import { AssetError } from '../core/errors.js'
import { inLanes } from '../core/lanes.js'
import { LEAF, LIMITS } from '../core/limits.js'
import type { Blocks } from './blocks.js'
import { leafDigests } from './leaves.js'
import { decodeNode, type UnixfsNode } from './unixfs.js'
import { blockLimit } from './verified.js'

const AT_ONCE = 8

/**
 * The bytes of asset.json in the folder `root`; no other file of it is looked at.
 * @throws AssetError 'BAD_INPUT' where that is not a folder with such a file, 'LIMIT', and what `blocks` throws
 */
export async function fetchManifest(root: CID, blocks: Blocks, signal?: AbortSignal): Promise<Uint8Array> {
  const notOne = (why: string) => new AssetError('BAD_INPUT', `Cannot take ${root} for an asset: ${why}`)
  if (root.code === raw.code) throw notOne('it is a file')
  const nodeAt = async (cid: CID): Promise<UnixfsNode> =>
    decodeNode(await blocks(cid, { limit: blockLimit(cid), signal }), `the block ${cid} of ${root}`)
  const folder = await nodeAt(root)
  if (folder.kind === 'file') throw notOne('it is a file')
  const cid = await lookUp(folder, nodeAt)
  if (!cid) throw notOne(`it has no ${MANIFEST}; "masset decode" fetches folders of any kind`)
  if (cid.code === raw.code) return blocks(cid, { limit: LEAF, signal })
  const top = await blocks(cid, { limit: blockLimit(cid), signal })
  const node = decodeNode(top, `${MANIFEST} of ${root}`)
  if (node.kind !== 'file') throw notOne(`its ${MANIFEST} is a folder`)
  if (node.size > LIMITS.json)
    throw new AssetError('LIMIT', `Cannot read ${MANIFEST} of ${root}: it has ${node.size} bytes, the limit is ${LIMITS.json}`)
  const again: Blocks = async (wanted, options) => (wanted.equals(cid) ? top : blocks(wanted, options))
  const digests = await leafDigests({ cid, size: node.size }, again, signal)
  const bytes = new Uint8Array(node.size)
  await inLanes([...Array(digests.byteLength / 32).keys()], AT_ONCE, async (leaf) => {
    const part = await blocks(leafCid(digests.slice(leaf * 32, leaf * 32 + 32)), { limit: LEAF, signal })
    if (part.byteLength !== Math.min(LEAF, node.size - leaf * LEAF)) throw notOne(`a leaf of its ${MANIFEST} has ${part.byteLength} bytes`)
    bytes.set(part, leaf * LEAF)
  })
  return bytes
}

/** The manifest's CID in a folder, whose shards are looked through as far as need be. */
async function lookUp(folder: UnixfsNode, nodeAt: (cid: CID) => Promise<UnixfsNode>): Promise<CID | undefined> {
  const waiting = [folder]
  let shards = 0
  for (let node = waiting.pop(); node; node = waiting.pop()) {
    if (node.kind === 'file') throw new AssetError('BAD_INPUT', 'Cannot read a part of a folder: it is a file')
    const found = node.entries.find(({ name }) => name === MANIFEST)
    if (found) return found.cid
    for (const cid of node.shards) {
      shards += 1
      if (shards > LIMITS.assetFiles)
        throw new AssetError('LIMIT', `Cannot find ${MANIFEST}: the folder has more parts than an asset has files`)
      waiting.push(await nodeAt(cid))
    }
  }
  return undefined
}
