import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import * as Digest from 'multiformats/hashes/digest'
import { AssetError } from './errors.js'

const SHA2_256 = 0x12
export const RAW = raw.code
export const DAG_PB = 0x70

/** The CID of a raw leaf block whose SHA-256 is `digest` (32 bytes). */
export function leafCid(digest: Uint8Array): CID {
  return CID.createV1(RAW, Digest.create(SHA2_256, digest))
}

/**
 * Reads a CID of the kind that assets use: version 1, SHA-256, raw or dag-pb; `ipfs://` and `/ipfs/` in front are taken off.
 * @throws AssetError 'BAD_INPUT' for anything else.
 */
export function parseCid(text: string): CID {
  let cid: CID
  try {
    cid = CID.parse(text.replace(/^(ipfs:\/\/|\/ipfs\/)/, ''))
  } catch (cause) {
    throw new AssetError('BAD_INPUT', `Cannot read the CID ${JSON.stringify(text.slice(0, 100))}: it is not a CID`, { cause })
  }
  if (cid.version !== 1 || !isBlockCid(cid)) {
    throw new AssetError(
      'BAD_INPUT',
      `Cannot use the CID ${text.slice(0, 100)}: assets have CIDs of version 1 with sha2-256, raw or dag-pb`,
    )
  }
  return cid
}

/** True for the CID of a block that assets may have, in any version: SHA-256, raw or dag-pb. */
export function isBlockCid(cid: CID): boolean {
  return isHashed(cid) && (cid.code === RAW || cid.code === DAG_PB)
}

/** True where a CID is by SHA-256, all 32 bytes of it. */
export function isHashed({ multihash: { code, digest } }: CID): boolean {
  return code === SHA2_256 && digest.byteLength === 32
}

/** A digest as the key of a map: the same for bytes that are the same. */
export function digestKey(digest: Uint8Array): string {
  return Buffer.from(digest.buffer, digest.byteOffset, digest.byteLength).toString('latin1')
}

/** True for a text that reads as a CID of an asset, file or folder. */
export function isCid(text: string): boolean {
  try {
    parseCid(text)
    return true
  } catch {
    return false
  }
}
