import type { CID } from 'multiformats/cid'
import type { BlockOptions } from './broker.js'

/** Gives the bytes of a block, verified: a retriever's. @throws AssetError */
export type Blocks = (cid: CID, options: BlockOptions) => Promise<Uint8Array>

/** Blocks, and the bytes of them. */
export interface BlockCount {
  readonly blocks: number
  readonly bytes: number
}

/** Blocks that are counted as they come. */
export function counted(blocks: Blocks): { readonly blocks: Blocks; readonly count: BlockCount } {
  const count = { blocks: 0, bytes: 0 }
  return {
    count,
    async blocks(cid, options) {
      const bytes = await blocks(cid, options)
      count.blocks += 1
      count.bytes += bytes.byteLength
      return bytes
    },
  }
}
