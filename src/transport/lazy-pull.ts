import { setMaxListeners } from 'node:events'
import type { AssetFile } from '../asset/sums.js'
import { AssetError } from '../core/errors.js'
import { inLanes } from '../core/lanes.js'
import { LEAF } from '../core/limits.js'
import type { Arrival } from '../store/arrival.js'
import type { ArrivalReader, Arriving, FileRange } from '../store/arriving-asset.js'
import type { Blocks } from './blocks.js'
import { ComingFile } from './coming-file.js'
import { LeafOrder, type Wanted } from './leaf-order.js'
import { Waiters } from './waiters.js'

// Leaves under way, from the request until they are written.
const LEAVES_AT_ONCE = 16
const LOOKUPS_AT_ONCE = 32
// Files of which the digests are asked for before their turn, so that no leaf waits for them.
const OPEN_AHEAD = 3
// The rest waits so long after the first pass: whoever wants one token only has it by then.
const REST_AFTER_MS = 250
// How often a reader is asked what it waits for while nothing is under way.
const GLANCE_MS = 5

/**
 * Fetches an asset into the store while it is in use: first what somebody waits for, then in the order of a pass, then the rest.
 * The asset is listed when all of it is there; interrupted in whatever way, the next attempt fetches only what is missing.
 */
export class LazyPull implements Arriving {
  fetched = 0
  missing = 0
  failure: Error | undefined
  private readonly files = new Map<string, ComingFile>()
  private readonly byPath = new Map<string, ComingFile>()
  private readonly controller = new AbortController()
  private readonly readers: ArrivalReader[] = []
  /** passes, and whoever reads; those who wait for all of it */
  private readonly waiters = new Waiters()
  private readonly completing = new Waiters()
  /** what somebody in this thread waits for, and what failed and is to be tried again */
  private urgent: Wanted[] = []
  private order = LeafOrder.whole([])
  private rest = LeafOrder.whole([])
  private wantsRest = false
  private readonly running = new Set<Promise<void>>()
  private passes = 0
  private isListed = false
  private listing: Promise<void> | undefined
  private timer: NodeJS.Timeout | undefined
  private restTimer: NodeJS.Timeout | undefined

  private constructor(private readonly arrival: Arrival) {
    setMaxListeners(0, this.controller.signal)
  }

  /** Looks what of an asset is missing; nothing is fetched yet. @throws AssetError 'IO' where there is no room for it */
  static async begin(arrival: Arrival, blocks: Blocks): Promise<LazyPull> {
    const pull = new LazyPull(arrival)
    const { manifest, manifestFile } = arrival.described
    const files = [...manifest.files.values()]
    const missing: AssetFile[] = []
    await inLanes([...files, manifestFile], LOOKUPS_AT_ONCE, async (file) => {
      if (!(await arrival.has(file))) missing.push(file)
    })
    await arrival.checkRoom(missing)
    for (const file of missing) {
      const key = String(file.cid)
      const coming = pull.files.get(key) ?? new ComingFile(file, arrival, blocks, pull.tell, pull.controller.signal)
      pull.files.set(key, coming)
    }
    for (const { file } of pull.files.values()) pull.missing += file.size
    pull.rest = LeafOrder.whole(pull.files.values())
    for (const { path, cid } of files) {
      const coming = pull.files.get(String(cid))
      if (coming) pull.byPath.set(path, coming)
    }
    pull.isListed = arrival.isListed
    return pull
  }

  private readonly tell = {
    begun: (file: string, place: string) => {
      for (const reader of this.readers) reader.begun(file, place)
    },
    arrived: (file: string, leaf: number, pages: Uint32Array) => {
      this.missing -= this.files.get(file)!.lengthOf(leaf)
      for (const reader of this.readers) reader.arrived(file, leaf, pages)
      this.settle()
    },
    finished: (file: string) => {
      for (const reader of this.readers) reader.finished(file)
      this.settle()
    },
  }

  get total(): number {
    const { manifest, manifestFile } = this.arrival.described
    return [...manifest.files.values()].reduce((sum, { size }) => sum + size, manifestFile.size)
  }

  isComing(file: string): boolean {
    return this.files.has(file)
  }

  /** The file at a path, where it was not there at the beginning. */
  at(path: string): ComingFile | undefined {
    return this.byPath.get(path)
  }

  listen(reader: ArrivalReader): void {
    this.readers.push(reader)
    for (const file of this.files.values()) {
      const { key, begun, isFinished, leaves } = file
      if (!begun) continue
      if (!isFinished) reader.begun(key, begun.path)
      for (let leaf = 0; leaf < leaves; leaf++) if (file.has(leaf)) reader.arrived(key, leaf, file.pagesOf(leaf))
      if (isFinished) reader.finished(key)
    }
  }

  follow(order: readonly FileRange[]): void {
    this.order = LeafOrder.of(order, (path) => this.byPath.get(path))
    this.pump()
  }

  beginPass(): void {
    this.passes += 1
    this.resume()
    this.pump()
  }

  endPass(isDone: boolean): void {
    this.passes -= 1
    if (this.passes === 0 && isDone && !this.wantsRest && !this.controller.signal.aborted)
      this.restTimer ??= setTimeout(() => this.fetchRest(), REST_AFTER_MS).unref()
    this.pump()
  }

  /** Waits for bytes of a file. @throws AssetError why they don't arrive */
  async wait(file: ComingFile, offset: number, length: number): Promise<void> {
    const first = Math.floor(offset / LEAF)
    const leaves = Array.from({ length: Math.ceil((offset + length) / LEAF) - first }, (_, at) => first + at)
    await this.until(file, leaves, () => leaves.every((leaf) => file.has(leaf)))
  }

  /** Waits until all of a file is in its place. @throws AssetError why it does not arrive */
  async whole(file: ComingFile): Promise<void> {
    await this.until(file, [...Array(file.leaves).keys()], () => file.isFinished)
  }

  private async until(file: ComingFile, leaves: readonly number[], isReady: () => boolean): Promise<void> {
    if (isReady()) return
    if (this.controller.signal.aborted) throw closed()
    if (this.failure) throw this.failure
    const ready = this.waiters.until(isReady)
    for (const leaf of leaves) if (file.take(leaf)) this.urgent.push({ file, leaf })
    this.pump()
    await ready
  }

  private settle(): void {
    this.waiters.settle()
    this.completing.settle()
  }

  giveUp(error: Error): void {
    this.waiters.giveUp(error)
  }

  private giveUpAll(error: Error): void {
    this.waiters.giveUp(error)
    this.completing.giveUp(error)
  }

  async complete({
    signal,
    onProgress,
  }: {
    readonly signal?: AbortSignal | undefined
    readonly onProgress?: (done: number, total: number) => void
  } = {}): Promise<void> {
    if (this.controller.signal.aborted) throw closed()
    this.resume()
    const isReady = () => {
      onProgress?.(this.total - this.missing, this.total)
      return this.isListed
    }
    const ready = this.completing.until(isReady, signal, () => cancelled(signal!))
    this.settle()
    this.fetchRest()
    await ready
  }

  private fetchRest(): void {
    this.wantsRest = true
    this.pump()
  }

  stop(): void {
    this.controller.abort()
    clearTimeout(this.timer)
    clearTimeout(this.restTimer)
    // A pass that waits in a reader ends too, before whoever closes waits for it.
    this.failure = closed()
    for (const reader of this.readers) reader.failed(this.failure)
    this.giveUpAll(this.failure)
  }

  /** Ends all of it; what has arrived is kept for the next time. */
  async close(): Promise<void> {
    this.stop()
    await Promise.allSettled(this.running)
    await this.listing?.catch(() => undefined)
    for (const file of this.files.values()) await file.close()
    await this.arrival.close()
  }

  private resume(): void {
    if (!this.failure || this.controller.signal.aborted) return
    this.failure = undefined
    for (const reader of this.readers) reader.resumed()
  }

  /** Begins to fetch as much at once as may be. */
  private pump(): void {
    clearTimeout(this.timer)
    if (this.failure || this.controller.signal.aborted) return
    while (this.running.size < LEAVES_AT_ONCE) {
      const wanted = this.next()
      if (!wanted) break
      const run = this.fetch(wanted).finally(() => {
        this.running.delete(run)
        this.pump()
      })
      this.running.add(run)
    }
    if (this.running.size > 0) return
    if ([...this.files.values()].every(({ isFinished }) => isFinished)) this.list()
    // Only a reader knows what of the rest its pass waits for.
    else if (this.passes > 0) this.timer = setTimeout(() => this.pump(), GLANCE_MS).unref()
  }

  private next(): Wanted | undefined {
    for (const reader of this.readers) {
      for (const { file, leaf } of reader.wanted()) {
        const coming = this.files.get(file)
        if (coming?.take(leaf)) this.urgent.push({ file: coming, leaf })
      }
    }
    const urgent = this.urgent.shift()
    if (urgent) return urgent
    const inOrder = this.order.next()
    if (inOrder) {
      // One that fails is asked for again in its turn, which tells.
      for (const file of this.order.ahead(OPEN_AHEAD)) file.open().catch(() => undefined)
      return inOrder
    }
    return this.wantsRest ? this.rest.next() : undefined
  }

  private async fetch(wanted: Wanted): Promise<void> {
    try {
      const bytes = await wanted.file.fetch(wanted.leaf)
      this.fetched += bytes
    } catch (error) {
      if (wanted.file.take(wanted.leaf)) this.urgent.push(wanted)
      this.fail(error as Error)
    }
  }

  private fail(error: Error): void {
    if (this.controller.signal.aborted || this.failure) return
    this.failure = error
    for (const reader of this.readers) reader.failed(error)
    this.giveUpAll(error)
  }

  private list(): void {
    if (this.isListed || this.listing) return
    this.listing = this.arrival
      .finish()
      .then(() => {
        this.isListed = true
        this.settle()
      })
      .catch((error: Error) => this.fail(error))
      .finally(() => {
        this.listing = undefined
      })
  }
}

function closed(): AssetError {
  return new AssetError('CLOSED', 'Cannot wait for what arrives: the model was closed')
}

function cancelled(signal: AbortSignal): AssetError {
  return new AssetError('ABORTED', 'Cannot finish: it was cancelled; what has arrived is kept', { cause: signal.reason })
}
