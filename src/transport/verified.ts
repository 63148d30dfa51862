import { webcrypto } from 'node:crypto'
import type { CID } from 'multiformats/cid'
import { DAG_PB, isHashed, RAW } from '../core/cid.js'
import { AssetError } from '../core/errors.js'
import { LEAF } from '../core/limits.js'

const { subtle } = webcrypto
const IDENTITY = 0
const MOST_IDENTITY = 128
const MOST_NODE = 2 * 1024 * 1024

/** Bytes that a block may have: a leaf 1 MiB, a node 2 MiB. @throws AssetError 'BAD_INPUT' for a CID that assets don't have */
export function blockLimit(cid: CID): number {
  const { code, digest } = cid.multihash
  const known = isHashed(cid) || (code === IDENTITY && digest.byteLength <= MOST_IDENTITY)
  if (!known || (cid.code !== RAW && cid.code !== DAG_PB))
    throw new AssetError('BAD_INPUT', `Cannot get the block ${cid}: only raw and dag-pb blocks with sha2-256 are taken`)
  return cid.code === RAW ? LEAF : MOST_NODE
}

/** The bytes of a block that carries them in its CID, else undefined. */
export function inlineBytes(cid: CID): Uint8Array | undefined {
  return cid.multihash.code === IDENTITY ? cid.multihash.digest : undefined
}

/** True where these are the bytes of a CID; of one that {@link blockLimit} takes. */
export async function isBlock(cid: CID, bytes: Uint8Array): Promise<boolean> {
  // Hashed by another thread: this one has enough to do with what comes next.
  const digest = inlineBytes(cid) ? bytes : new Uint8Array(await subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>))
  return Buffer.compare(digest, cid.multihash.digest) === 0
}
