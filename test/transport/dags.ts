import { Node } from 'ipfs-unixfs'
import type { CID } from 'multiformats/cid'
import type { Source } from './assets.js'
import { sourceOf } from './assets.js'
import { leaf, oddCid, sha256 } from './made-blocks.js'

type Data = NonNullable<Node['data']>

/** A link as a node has it. */
export interface MadeLink {
  readonly cid: CID
  readonly name?: string
  /** as a folder's link says it; what a file's node says of its part */
  readonly size?: number
}

/** Blocks made by hand: each is what its CID says, and none has to make sense. */
export class MadeDag {
  readonly all = new Map<string, Uint8Array>()

  put(cid: CID, bytes: Uint8Array): CID {
    this.all.set(String(cid), bytes)
    return cid
  }

  leaf(content: Uint8Array | string): CID {
    const { cid, bytes } = leaf(content)
    return this.put(cid, bytes)
  }

  /** A dag-pb block of any bytes. */
  odd(bytes: Uint8Array): CID {
    return this.put(oddCid(0x70, 0x12, sha256(bytes)), bytes)
  }

  node(data: Partial<Data>, links: readonly MadeLink[] = []): CID {
    const made = { links: links.map(({ cid, name = '', size = 0 }) => ({ hash: cid.bytes, name, tSize: BigInt(size) })) }
    return this.odd(Node.encode({ ...made, data: { blockSizes: [], ...data } }))
  }

  folder(links: readonly MadeLink[]): CID {
    return this.node({ type: 'DIRECTORY' as never }, links)
  }

  /** A file's node that says of each part what its link's `size` is, and of the whole `size`, else their sum. */
  file(links: readonly MadeLink[], size?: number): CID {
    const sizes = links.map((link) => BigInt(link.size ?? 0))
    const sum = sizes.reduce((total, part) => total + part, 0n)
    return this.node({ type: 'FILE' as never, fileSize: size === undefined ? sum : BigInt(size), blockSizes: sizes }, links)
  }

  source(root: CID): Source {
    return sourceOf(root, this.all)
  }
}
