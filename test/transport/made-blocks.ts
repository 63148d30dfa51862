import { createHash } from 'node:crypto'
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'
import { leafCid } from '../../src/core/cid.js'
import type { Block } from '../../src/transport/broker.js'

export const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest()

/** A raw block with these bytes, or with the text's. */
export function leaf(content: Uint8Array | string): Block {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content
  return { cid: leafCid(sha256(bytes)), bytes }
}

/** A CID with whatever codec, hash function and digest. */
export function oddCid(codec: number, hash: number, digest: Uint8Array): CID {
  return CID.createV1(codec, Digest.create(hash, digest))
}
