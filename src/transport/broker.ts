import type { CID } from 'multiformats/cid'
import { AssetError } from '../core/errors.js'

/** A block as it came: its bytes are not those of its CID until somebody has looked. */
export interface Block {
  readonly cid: CID
  readonly bytes: Uint8Array
}

/** What whoever asks for blocks sets. */
export interface BlockOptions {
  /** bytes of a block at most; what is above is cut off and an error */
  readonly limit: number
  readonly signal?: AbortSignal | undefined
  /** told where an answer did not say how long it is: it may have been cut off, so that its bytes are no lie if they are wrong */
  readonly onUnmeasured?: (() => void) | undefined
}

/** One way to get blocks; nothing that it gives is trusted. */
export interface Broker {
  /** for messages: `kubo http://127.0.0.1:5001` */
  readonly name: string
  /** whoever has a lower one is asked first, those of the same are equals; 0 where left out */
  readonly rank?: number
  /**
   * The bytes of a block, unverified; undefined where it is not to be had here.
   * @throws AssetError 'IO', 'LIMIT' where the reply is above the limit, 'ABORTED'
   */
  block(cid: CID, options: BlockOptions): Promise<Uint8Array | undefined>
  close?(): Promise<void>
}

/** The AssetError 'IO' of a broker that asks to be left alone for so many milliseconds. */
export class BusyError extends AssetError {
  constructor(
    message: string,
    readonly milliseconds: number,
  ) {
    super('IO', message)
  }
}
