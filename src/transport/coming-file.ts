import { type AssetFile, leafCount } from '../asset/sums.js'
import { giveBack } from '../core/buffers.js'
import { leafCid } from '../core/cid.js'
import { LEAF, PAGE } from '../core/limits.js'
import type { Arrival } from '../store/arrival.js'
import type { ArrivingFile } from '../store/arriving.js'
import type { ArrivalReader } from '../store/arriving-asset.js'
import type { Blocks } from './blocks.js'
import { leafDigests } from './leaves.js'

const PAGES_PER_LEAF = LEAF / PAGE

/** One file of an asset while it arrives: begun when its first leaf is fetched, finished with its last. */
export class ComingFile {
  readonly key: string
  readonly leaves: number
  /** under way, or there */
  private readonly taken: Uint8Array
  private opening: Promise<ArrivingFile> | undefined
  private finishing: Promise<void> | undefined
  /** where its bytes are and their checksums, once it has begun; of use after it is finished too */
  begun: ArrivingFile | undefined
  isFinished = false

  constructor(
    readonly file: AssetFile,
    private readonly arrival: Arrival,
    private readonly blocks: Blocks,
    private readonly tell: Pick<ArrivalReader, 'begun' | 'arrived' | 'finished'>,
    private readonly signal: AbortSignal,
  ) {
    this.key = String(file.cid)
    this.leaves = leafCount(file.size)
    this.taken = new Uint8Array(this.leaves)
  }

  has(leaf: number): boolean {
    return this.isFinished || (this.begun?.has(leaf) ?? false)
  }

  /** The bytes of a leaf. */
  lengthOf(leaf: number): number {
    return Math.min(LEAF, this.file.size - leaf * LEAF)
  }

  /** The checksums of the pages of a leaf that is there. */
  pagesOf(leaf: number): Uint32Array {
    return this.begun!.sums.pages.subarray(leaf * PAGES_PER_LEAF, (leaf + 1) * PAGES_PER_LEAF)
  }

  /** Takes a leaf on: false where somebody has. */
  take(leaf: number): boolean {
    if (this.taken[leaf] === 1) return false
    this.taken[leaf] = 1
    return true
  }

  /** Asks for what is known of its leaves; any number of times. */
  open(): Promise<ArrivingFile> {
    this.opening ??= this.begin().catch((error: unknown) => {
      this.opening = undefined
      throw error
    })
    return this.opening
  }

  private async begin(): Promise<ArrivingFile> {
    const file = await this.arrival.open(this.file, () => leafDigests(this.file, this.blocks, this.signal))
    this.begun = file
    this.tell.begun(this.key, file.path)
    for (let leaf = 0; leaf < this.leaves; leaf++) {
      if (!file.has(leaf)) continue
      this.taken[leaf] = 1
      this.tell.arrived(this.key, leaf, this.pagesOf(leaf))
    }
    if (file.left === 0) await this.finish(file)
    return file
  }

  /** Fetches a leaf that was taken on; resolves to its bytes, 0 where it was there. One that fails can be taken on again. */
  async fetch(leaf: number): Promise<number> {
    try {
      const file = await this.open()
      if (file.has(leaf)) {
        if (file.left === 0) await this.finish(file)
        return 0
      }
      const bytes = await this.blocks(leafCid(file.digestOf(leaf)), { limit: LEAF, signal: this.signal })
      const { byteLength } = bytes
      await file.put(leaf, bytes)
      giveBack(bytes)
      this.tell.arrived(this.key, leaf, this.pagesOf(leaf))
      if (file.left === 0) await this.finish(file)
      return byteLength
    } catch (error) {
      this.taken[leaf] = 0
      throw error
    }
  }

  private finish(file: ArrivingFile): Promise<void> {
    this.finishing ??= (async () => {
      await file.finish()
      this.isFinished = true
      await file.close()
      this.tell.finished(this.key)
    })()
    this.finishing.catch(() => {
      this.finishing = undefined
    })
    return this.finishing
  }

  /** Lets go of it; what has arrived is kept. */
  async close(): Promise<void> {
    const file = await this.opening?.catch(() => undefined)
    await this.finishing?.catch(() => undefined)
    if (file && !this.isFinished) await file.close()
  }
}
