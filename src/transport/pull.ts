import type { CID } from 'multiformats/cid'
import { type AssetFile, leafCount } from '../asset/sums.js'
import { giveBack } from '../core/buffers.js'
import { digestKey, leafCid } from '../core/cid.js'
import { AssetError, throwIfAborted } from '../core/errors.js'
import { drain, inLanes, type Task } from '../core/lanes.js'
import { LEAF } from '../core/limits.js'
import type { LongCall } from '../core/progress.js'
import type { Arrival } from '../store/arrival.js'
import type { ArrivingFile } from '../store/arriving.js'
import { mendFromWithin } from '../store/mend.js'
import type { Store } from '../store/store.js'
import { type BlockCount, type Blocks, counted, shared } from './blocks.js'
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
  const { blocks, count } = counted(options.blocks)
  const signal = shared(options.signal)
  return resumable('pull', cid, signal, async () => {
    await using arrival = await options.store.arrive(String(cid), () => fetchManifest(cid, blocks, signal))
    const pull = new Pull(arrival, blocks, { ...options, signal })
    const missing = await pull.missing()
    await pull.fetch(missing, false)
    if (missing.length > 0 || !arrival.isListed) await arrival.finish()
    return { cid: String(cid), files: pull.files.length, bytes: pull.total, fetched: count, present: pull.present }
  })
}

/** What was found and repaired. */
export interface Repaired extends Omit<Pulled, 'present'> {
  /** what was replaced, one line each; none: all was well */
  readonly repaired: readonly string[]
}

/**
 * Reads every byte of an asset of the store and replaces what is damaged: fetched is only what does not follow from what is right,
 * such as the damaged leaves. Each file is replaced at once, so others may read the asset meanwhile.
 * @throws AssetError 'NOT_FOUND' where the asset is not in the store, and as {@link pullAsset}
 */
export async function repairAsset(cid: CID, options: PullOptions): Promise<Repaired> {
  const { store } = options
  const signal = shared(options.signal)
  const key = String(cid)
  if (!(await store.has(key))) throw new AssetError('NOT_FOUND', `Cannot repair ${key}: it is not in the store; pull it`)
  const { blocks, count } = counted(options.blocks)
  return resumable('repair', cid, signal, async () => {
    await using arrival = await store.arrive(key, () => fetchManifest(cid, blocks, signal))
    const { damaged, mended } = await mendFromWithin(store, arrival.described, { ...options, signal })
    const pull = new Pull(arrival, blocks, { ...options, signal })
    await pull.fetch(damaged, true)
    const repaired = [...(arrival.isListed ? [] : ['its manifest or entry']), ...mended, ...damaged.map(({ path }) => path)]
    if (repaired.length > 0) await arrival.finish()
    return { cid: key, files: pull.files.length, bytes: pull.total, fetched: count, repaired }
  })
}

async function resumable<T>(doing: string, cid: CID, signal: AbortSignal | undefined, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    if (!signal?.aborted) throw error
    const why = `it was cancelled; what has arrived is kept, ${doing} it again to go on`
    throw new AssetError('ABORTED', `Cannot finish to ${doing} ${cid}: ${why}`, { cause: signal.reason })
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

  /** The files that the store lacks. */
  async missing(): Promise<AssetFile[]> {
    const missing = new Set(this.files)
    await inLanes(this.files, LOOKUPS_AT_ONCE, async (file) => {
      if (!(await this.arrival.has(file))) return
      missing.delete(file)
      if (this.arrival.isNew && file === this.arrival.described.manifestFile) this.progress(file.size)
      else this.have(leafCount(file.size), file.size)
    })
    return [...missing]
  }

  /** Fetches files; `mend` takes what is right in those that are there. */
  async fetch(files: readonly AssetFile[], mend: boolean): Promise<void> {
    await this.arrival.checkRoom(files)
    try {
      await drain(
        files.map((file) => this.file(file, mend)),
        BLOCKS_AT_ONCE,
      )
    } finally {
      for (const file of this.opened) await file.close()
    }
  }

  /** Opens a file and adds a task for each different leaf that it lacks; the last of them finishes it. */
  private file(file: AssetFile, mend: boolean): Task {
    return async (add) => {
      throwIfAborted(this.options.signal, 'pull')
      const arriving = await this.arrival.open(file, () => leafDigests(file, this.blocks, this.options.signal), { mend })
      this.opened.add(arriving)
      const wanted = new Map<string, number[]>()
      let left = file.size
      for (const leaf of arriving.missing()) {
        const digest = digestKey(arriving.digestOf(leaf))
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
    const { byteLength } = bytes
    for (const leaf of leaves) await file.put(leaf, bytes)
    giveBack(bytes)
    if (file.left === 0 && this.opened.has(file)) await this.finish(file)
    // What is said to be there stays: a file of one leaf does so when it is finished.
    this.progress(byteLength * leaves.length)
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
