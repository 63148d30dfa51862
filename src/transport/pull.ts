import type { CID } from 'multiformats/cid'
import { type AssetFile, leafCount } from '../asset/sums.js'
import { leafCid } from '../core/cid.js'
import { AssetError, throwIfAborted } from '../core/errors.js'
import { drain, inLanes, type Task } from '../core/lanes.js'
import { LEAF } from '../core/limits.js'
import type { LongCall } from '../core/progress.js'
import type { Arrival } from '../store/arrival.js'
import type { ArrivingFile } from '../store/arriving.js'
import type { Store } from '../store/store.js'
import { type BlockCount, type Blocks, counted } from './blocks.js'
import { leafDigests } from './leaves.js'
import { fetchManifest } from './manifest-of.js'

// Blocks under way, from the request until they are written: 16 MiB.
const BLOCKS_AT_ONCE = 16
const LOOKUPS_AT_ONCE = 32

/** What {@link pullAsset} takes. */
export interface PullOptions extends LongCall {
  readonly store: Store
  readonly blocks: Blocks
}

/** What was pulled. */
export interface Pulled {
  readonly cid: string
  /** different files of the asset, asset.json among them, and the bytes of them */
  readonly files: number
  readonly bytes: number
  /** blocks that came from the sources, those of folders and of the upper parts of files among them */
  readonly fetched: BlockCount
  /** leaves that were in the store already */
  readonly present: BlockCount
}

/**
 * Pulls an asset into a store: its manifest, then the leaves of its files that the store lacks, several at a time. All of it is
 * checked: the blocks by whoever gives them, and here that manifest and leaves make exactly this folder, so nothing else that is in
 * its DAG is looked at or kept. The asset is listed when all of it is there. Interrupted in whatever way, the next pull fetches
 * only what is missing.
 * @throws AssetError 'BAD_INPUT' | 'LIMIT' where the blocks are not those of an asset, 'MISSING', 'IO', 'ABORTED', and what `blocks` throws
 */
export async function pullAsset(cid: CID, options: PullOptions): Promise<Pulled> {
  const { store, signal } = options
  const { blocks, count } = counted(options.blocks)
  try {
    await using arrival = await store.arrive(String(cid), () => fetchManifest(cid, blocks, signal))
    const pull = new Pull(arrival, blocks, options)
    await pull.run()
    return { cid: String(cid), files: pull.files.length, bytes: pull.total, fetched: count, present: pull.present }
  } catch (error) {
    if (!signal?.aborted) throw error
    const why = 'it was cancelled; what has arrived is kept, pull it again to go on'
    throw new AssetError('ABORTED', `Cannot finish to pull ${cid}: ${why}`, { cause: signal.reason })
  }
}

class Pull {
  /** each content once; one CID with two sizes can't be, and is found out when it is fetched */
  readonly files: readonly AssetFile[]
  readonly total: number
  readonly present = { blocks: 0, bytes: 0 }
  private done = 0
  private readonly opened = new Set<ArrivingFile>()

  constructor(
    private readonly arrival: Arrival,
    private readonly blocks: Blocks,
    private readonly options: LongCall,
  ) {
    const { manifest, manifestFile } = arrival.described
    this.files = [...new Map([manifestFile, ...manifest.files.values()].map((file) => [`${file.cid} ${file.size}`, file])).values()]
    this.total = this.files.reduce((sum, { size }) => sum + size, 0)
  }

  async run(): Promise<void> {
    const { arrival, files } = this
    const missing = new Set(files)
    await inLanes(files, LOOKUPS_AT_ONCE, async (file) => {
      if (!(await arrival.has(file))) return
      missing.delete(file)
      this.have(leafCount(file.size), file.size)
    })
    if (missing.size === 0 && arrival.isListed) return
    await arrival.checkRoom([...missing])
    try {
      await drain(
        [...missing].map((file) => this.file(file)),
        BLOCKS_AT_ONCE,
      )
    } finally {
      for (const file of this.opened) await file.close()
    }
    await arrival.finish()
  }

  /** Opens a file and adds a task for each different leaf that it lacks; the last of them finishes it. */
  private file(file: AssetFile): Task {
    return async (add) => {
      throwIfAborted(this.options.signal, 'pull')
      const arriving = await this.arrival.open(file, () => leafDigests(file, this.blocks, this.options.signal))
      this.opened.add(arriving)
      const wanted = new Map<string, number[]>()
      let left = file.size
      for (const leaf of arriving.missing()) {
        const digest = Buffer.from(arriving.digestOf(leaf)).toString('latin1')
        const leaves = wanted.get(digest)
        if (leaves) leaves.push(leaf)
        else wanted.set(digest, [leaf])
        left -= arriving.lengthOf(leaf)
      }
      this.have(leafCount(file.size) - arriving.left, left)
      if (wanted.size === 0) await this.finish(arriving)
      add([...wanted.values()].map((leaves) => () => this.leaf(arriving, leaves)))
    }
  }

  /** Fetches a leaf and puts it wherever the file has it. */
  private async leaf(file: ArrivingFile, leaves: readonly number[]): Promise<void> {
    const { signal } = this.options
    throwIfAborted(signal, 'pull')
    const bytes = await this.blocks(leafCid(file.digestOf(leaves[0]!)), { limit: LEAF, signal })
    for (const leaf of leaves) {
      await file.put(leaf, bytes)
      this.progress(bytes.byteLength)
    }
    if (file.left === 0 && this.opened.has(file)) await this.finish(file)
  }

  private async finish(file: ArrivingFile): Promise<void> {
    this.opened.delete(file)
    try {
      await file.finish()
    } finally {
      await file.close()
    }
  }

  private have(blocks: number, bytes: number): void {
    this.present.blocks += blocks
    this.present.bytes += bytes
    this.progress(bytes)
  }

  private progress(bytes: number): void {
    this.done += bytes
    this.options.onProgress?.({ phase: 'fetch', done: this.done, total: this.total })
  }
}
