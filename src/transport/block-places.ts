import type { CID } from 'multiformats/cid'
import { isHashed } from '../core/cid.js'
import { AssetError } from '../core/errors.js'

const DIGEST = 32
/** Blocks of one CAR: two terabytes of whole leaves. */
const MOST_BLOCKS = 2_000_000
/** Blocks whose bytes are allocated at once. */
const CHUNK = 65_536
// Half of the slots are free, so of digests that are hashes no row is longer than about a hundred.
const LONGEST_ROW = 512

/** Where the bytes of a block lie in a file. */
export interface Place {
  readonly offset: number
  readonly length: number
}

interface Chunk {
  readonly digests: Uint8Array
  readonly offsets: Float64Array
  readonly lengths: Uint32Array
}

/** Finds the blocks of a CAR by their digests, which nobody vouches for: a table with open addressing, of 52 to 60 bytes a block. */
export class BlockPlaces {
  #chunks: Chunk[] = []
  /** one more than the number of a block, at the first free place from its digest on */
  #slots = new Uint32Array(1024)
  #size = 0

  /** @param what for messages: the path of the CAR, or who sends it */
  constructor(private readonly what: string) {}

  get size(): number {
    return this.#size
  }

  /**
   * Notes where a block is; of several the first. Blocks with other hashes than SHA-256 are passed over, since nobody asks for them.
   * @throws AssetError 'LIMIT' above two million of them, 'BAD_INPUT' where the digests are no hashes
   */
  add(cid: CID, { offset, length }: Place): void {
    if (!isHashed(cid)) return
    const { digest } = cid.multihash
    if (this.#slots[this.#slotOf(digest)] !== 0) return
    if (this.#size === MOST_BLOCKS) throw new AssetError('LIMIT', `Cannot use the CAR ${this.what}: it has more than ${MOST_BLOCKS} blocks`)
    if (this.#size * 2 >= this.#slots.length) this.#grow()
    const at = this.#size % CHUNK
    if (at === 0)
      this.#chunks.push({ digests: new Uint8Array(CHUNK * DIGEST), offsets: new Float64Array(CHUNK), lengths: new Uint32Array(CHUNK) })
    const chunk = this.#chunks.at(-1)!
    chunk.digests.set(digest, at * DIGEST)
    chunk.offsets[at] = offset
    chunk.lengths[at] = length
    const slot = this.#slotOf(digest)
    this.#size += 1
    this.#slots[slot] = this.#size
  }

  find(cid: CID): Place | undefined {
    if (!isHashed(cid)) return undefined
    const number = this.#slots[this.#slotOf(cid.multihash.digest)]! - 1
    if (number < 0) return undefined
    const { offsets, lengths } = this.#chunks[Math.floor(number / CHUNK)]!
    return { offset: offsets[number % CHUNK]!, length: lengths[number % CHUNK]! }
  }

  #grow(): void {
    this.#slots = new Uint32Array(this.#slots.length * 2)
    for (let number = 0; number < this.#size; number++) this.#slots[this.#slotOf(this.#digestOf(number))] = number + 1
  }

  #digestOf(number: number): Uint8Array {
    const at = (number % CHUNK) * DIGEST
    return this.#chunks[Math.floor(number / CHUNK)]!.digests.subarray(at, at + DIGEST)
  }

  /** The slot that has this digest, or else the free one where it belongs. */
  #slotOf(digest: Uint8Array): number {
    const mask = this.#slots.length - 1
    const start = (digest[0]! | (digest[1]! << 8) | (digest[2]! << 16) | (digest[3]! << 24)) & mask
    for (let step = 0; step < LONGEST_ROW; step++) {
      const slot = (start + step) & mask
      const number = this.#slots[slot]! - 1
      if (number < 0 || Buffer.compare(digest, this.#digestOf(number)) === 0) return slot
    }
    // Made up to have this take for ever.
    throw new AssetError('BAD_INPUT', `Cannot use the CAR ${this.what}: its blocks have digests that are no hashes`)
  }
}
