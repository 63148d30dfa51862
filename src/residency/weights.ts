import { AssetError } from '../core/errors.js'
import type { TraceLog } from '../core/trace.js'
import type { CachePlan } from '../plan/cache.js'
import type { ResidencyPlan } from '../plan/pinned.js'
import type { Residency, Resident } from './residency.js'
import { WeightCache } from './weight-cache.js'

/** Where a weight's bytes come from. */
export interface WeightSource {
  /** the content that the bytes are of: two weights with the same key hold the same bytes */
  readonly key: string
  readonly length: number
  /** fills `target` with verified bytes; resolves to the bytes that were read from the disk for it */
  read(target: Uint8Array): Promise<number>
}

/** Counters of one model's weights; bytes and milliseconds. */
export interface WeightStats {
  /** tensor bytes read */
  bytesRead: number
  /** bytes of the pages read for them */
  diskBytes: number
  /** leases that found their weight in memory */
  hits: number
  /** leases that had to wait for the disk, and how long they waited */
  waits: number
  waitMs: number
  /** bytes of weights of branches, as experts are, that were leased, and those of them that were read for it, not being in memory */
  expertBytes: number
  expertBytesRead: number
  /** weight bytes held now, and the most held at any time */
  residentBytes: number
  peakResidentBytes: number
}

interface Ahead {
  readonly name: string
  readonly resident: Promise<Resident>
}

/**
 * One model's weights within its budget. Pinned ones are read once and kept; streamed ones are read ahead in the order
 * of the pass, around its end too, as far as the window allows, and freed when they have been used.
 */
export class Weights {
  readonly stats: WeightStats = {
    bytesRead: 0,
    diskBytes: 0,
    hits: 0,
    waits: 0,
    waitMs: 0,
    expertBytes: 0,
    expertBytesRead: 0,
    residentBytes: 0,
    peakResidentBytes: 0,
  }
  private readonly pinned = new Map<string, Promise<Resident>>()
  private ahead: Ahead[] = []
  private next = 0
  private windowUsed = 0
  private closed = false
  private readonly cache: WeightCache

  constructor(
    private readonly residency: Residency,
    private readonly plan: ResidencyPlan,
    private readonly cached: CachePlan,
    private readonly sources: ReadonlyMap<string, WeightSource>,
    private readonly trace?: TraceLog,
  ) {
    residency.addBudget(plan.budget + cached.budget)
    const load = (name: string) => {
      this.stats.expertBytesRead += this.lengthOf(name)
      return this.hold(name)
    }
    this.cache = new WeightCache(
      cached.budget,
      (name) => this.lengthOf(name),
      load,
      (resident) => this.free(resident, false),
    )
  }

  /** Starts a pass: what a broken pass left read ahead is dropped, so that the order is that of the plan again. */
  async beginPass(): Promise<void> {
    if (this.plan.streamed.length === 0) return
    const consumed = this.next - this.ahead.length
    if (consumed % this.plan.streamed.length !== 0) await this.dropAhead()
    this.readAhead()
  }

  /** The bytes of these weights, in memory until {@link release}. `soon` are weights whose reading may start now. */
  async lease(names: readonly string[], soon: readonly string[] = []): Promise<Uint8Array<ArrayBuffer>[]> {
    if (this.closed) throw new AssetError('CLOSED', 'Cannot run the model: it was closed')
    for (const name of [...names, ...soon]) if (this.plan.pinned.has(name)) this.pin(name)
    const leased: Uint8Array<ArrayBuffer>[] = []
    try {
      for (const name of names) leased.push((await this.waitFor(name, this.resident(name))).bytes)
      return leased
    } catch (error) {
      for (const name of names.slice(0, leased.length)) if (this.cached.names.has(name)) this.cache.release(name)
      // A read that failed must not stay in line for the next pass.
      await this.dropAhead()
      throw error
    }
  }

  /** Says which weights of branches will be leased next: they may be read now, and stay if they are there. */
  expect(names: readonly string[]): void {
    if (!this.closed) this.cache.expect(names.filter((name) => this.cached.names.has(name)))
  }

  /** Ends a lease: streamed weights are freed, which lets the next ones be read. */
  async release(names: readonly string[]): Promise<void> {
    for (const name of names) {
      if (this.cached.names.has(name)) this.cache.release(name)
      if (this.plan.pinned.has(name) || this.cached.names.has(name)) continue
      const [used] = this.ahead.splice(
        this.ahead.findIndex((ahead) => ahead.name === name),
        1,
      )
      if (used) this.free(await used.resident)
    }
    this.readAhead()
  }

  /** The rows of a table that `rows` name, each `rowBytes` long, one after the other; read alone, unless the table is in memory. */
  async rows(
    name: string,
    rows: readonly number[],
    rowBytes: number,
    readRows: (row: number, target: Uint8Array) => Promise<number>,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const target = new Uint8Array(rows.length * rowBytes)
    const resident = await this.pinned.get(name)
    const done = new Map<number, number>()
    for (const [at, row] of rows.entries()) {
      const place = target.subarray(at * rowBytes, (at + 1) * rowBytes)
      const same = done.get(row)
      if (resident) place.set(resident.bytes.subarray(row * rowBytes, (row + 1) * rowBytes))
      else if (same !== undefined) place.set(target.subarray(same * rowBytes, (same + 1) * rowBytes))
      else {
        const started = performance.now()
        const pages = await readRows(row, place)
        this.trace?.record('disk', name, started, pages)
        this.stats.diskBytes += pages
        this.stats.bytesRead += rowBytes
      }
      done.set(row, at)
    }
    return target
  }

  /** True for a weight whose bytes are in memory. */
  isResident(name: string): boolean {
    const source = this.sources.get(name)
    return source !== undefined && this.residency.has(source.key)
  }

  /** Frees everything. A read that is under way ends first. */
  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    await this.dropAhead()
    await this.cache.close()
    for (const resident of await Promise.allSettled(this.pinned.values()))
      if (resident.status === 'fulfilled') this.free(resident.value, false)
    this.pinned.clear()
    this.residency.addBudget(-this.plan.budget - this.cached.budget)
  }

  private async waitFor(name: string, resident: Promise<Resident>): Promise<Resident> {
    const started = performance.now()
    const found = await resident
    const waited = performance.now() - started
    // A resolved promise costs a turn of the microtask queue, not a read.
    if (waited < 0.05) this.stats.hits += 1
    else {
      this.stats.waits += 1
      this.stats.waitMs += waited
      this.trace?.record('wait', name, started)
    }
    return found
  }

  private resident(name: string): Promise<Resident> {
    if (this.plan.pinned.has(name)) return this.pin(name)
    if (!this.cached.names.has(name)) return this.streamed(name)
    this.stats.expertBytes += this.lengthOf(name)
    return this.cache.lease(name)
  }

  private lengthOf(name: string): number {
    return this.sources.get(name)!.length
  }

  private pin(name: string): Promise<Resident> {
    let resident = this.pinned.get(name)
    if (!resident) {
      resident = this.hold(name)
      this.pinned.set(name, resident)
      resident.catch(() => this.pinned.delete(name))
    }
    return resident
  }

  private streamed(name: string): Promise<Resident> {
    const found = this.ahead.find((ahead) => ahead.name === name)
    if (!found) throw new AssetError('ENGINE', `Cannot run the model: weight ${name} was asked for out of order`)
    return found.resident
  }

  private readAhead(): void {
    const { streamed, window } = this.plan
    while (!this.closed && streamed.length > 0 && this.ahead.length < streamed.length) {
      const use = streamed[this.next % streamed.length]!
      if (this.windowUsed + use.length > window) return
      this.windowUsed += use.length
      const resident = this.hold(use.name)
      resident.catch(() => undefined)
      this.ahead.push({ name: use.name, resident })
      this.next += 1
    }
  }

  private async hold(name: string): Promise<Resident> {
    const source = this.sources.get(name)!
    this.stats.residentBytes += source.length
    this.stats.peakResidentBytes = Math.max(this.stats.peakResidentBytes, this.stats.residentBytes)
    try {
      return await this.residency.hold(source.key, source.length, async (target) => {
        this.stats.bytesRead += source.length
        const started = performance.now()
        const pages = await source.read(target)
        this.trace?.record('disk', name, started, pages)
        this.stats.diskBytes += pages
      })
    } catch (error) {
      this.stats.residentBytes -= source.length
      throw error
    }
  }

  private free(resident: Resident, streamed = true): void {
    this.stats.residentBytes -= resident.bytes.byteLength
    if (streamed) this.windowUsed -= resident.bytes.byteLength
    this.residency.letGo(resident)
  }

  private async dropAhead(): Promise<void> {
    const dropped = this.ahead
    this.ahead = []
    for (const outcome of await Promise.allSettled(dropped.map(({ resident }) => resident)))
      if (outcome.status === 'fulfilled') this.free(outcome.value)
    this.windowUsed = 0
    this.next = 0
  }
}
