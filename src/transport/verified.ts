import { createHash } from 'node:crypto'
import type { CID } from 'multiformats/cid'
import { AssetError } from '../core/errors.js'
import { LEAF } from '../core/limits.js'

const RAW = 0x55
const DAG_PB = 0x70
const SHA2_256 = 0x12
const IDENTITY = 0
const MOST_IDENTITY = 128
const MOST_NODE = 2 * 1024 * 1024

/** Bytes that a block may have: a leaf 1 MiB, a node 2 MiB. @throws AssetError 'BAD_INPUT' for a CID that assets don't have */
export function blockLimit(cid: CID): number {
  const { code, digest } = cid.multihash
  const known = code === SHA2_256 ? digest.byteLength === 32 : code === IDENTITY && digest.byteLength <= MOST_IDENTITY
  if (!known || (cid.code !== RAW && cid.code !== DAG_PB))
    throw new AssetError('BAD_INPUT', `Cannot get the block ${cid}: only raw and dag-pb blocks with sha2-256 are taken`)
  return cid.code === RAW ? LEAF : MOST_NODE
}

/** The bytes of a block that carries them in its CID, else undefined. */
export function inlineBytes(cid: CID): Uint8Array | undefined {
  return cid.multihash.code === IDENTITY ? cid.multihash.digest : undefined
}

/** True where these are the bytes of a CID; of one that {@link blockLimit} takes. */
export function isBlock(cid: CID, bytes: Uint8Array): boolean {
  const digest = inlineBytes(cid) ? bytes : createHash('sha256').update(bytes).digest()
  return Buffer.compare(digest, cid.multihash.digest) === 0
}
