import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import * as Digest from 'multiformats/hashes/digest'
import { AssetError } from './errors.js'

const SHA2_256 = 0x12
const DAG_PB = 0x70

/** The CID of a raw leaf block whose SHA-256 is `digest` (32 bytes). */
export function leafCid(digest: Uint8Array): CID {
  return CID.createV1(raw.code, Digest.create(SHA2_256, digest))
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
export function isBlockCid({ code, multihash }: CID): boolean {
  return multihash.code === SHA2_256 && multihash.digest.byteLength === 32 && (code === raw.code || code === DAG_PB)
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
