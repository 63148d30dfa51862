import { AssetError } from '../core/errors.js'
import type { Resident } from './residency.js'

interface Entry {
  readonly length: number
  readonly resident: Promise<Resident>
  /** the same, once it is in memory */
  held: Resident | undefined
  leases: number
}

/**
 * Weights that only some passes need, within a budget in bytes: the one whose last use is longest ago makes room. What is
 * leased stays. Not for two passes at once.
 */
export class WeightCache {
  // in the order of their last use
  private readonly entries = new Map<string, Entry>()
  private bytes = 0

  /** `load` begins to read a weight of `lengthOf` bytes, `free` lets go of it. */
  constructor(
    private readonly budget: number,
    private readonly lengthOf: (name: string) => number,
    private readonly load: (name: string) => Promise<Resident>,
    private readonly free: (resident: Resident) => void,
  ) {}

  /**
   * Says which weights will be leased next, in that order: those in memory are the last to make room from now on, the others
   * begin to be read, as many as there is room for beside them.
   */
  expect(names: readonly string[]): void {
    for (const name of names) this.touch(name)
    const expected = new Set(names)
    for (const name of expected) {
      if (this.entries.has(name)) continue
      const length = this.lengthOf(name)
      while (this.bytes + length > this.budget) {
        const oldest = this.oldest(({ held }, other) => held !== undefined && !expected.has(other))
        if (oldest === undefined) return
        this.evict(oldest)
      }
      this.begin(name, length)
    }
  }

  /** A weight, in memory until {@link release}. */
  async lease(name: string): Promise<Resident> {
    if (!this.entries.has(name)) {
      await this.makeRoom(this.lengthOf(name))
      this.begin(name, this.lengthOf(name))
    }
    const entry = this.touch(name)!
    entry.leases += 1
    try {
      return await entry.resident
    } catch (error) {
      entry.leases -= 1
      throw error
    }
  }

  release(name: string): void {
    const entry = this.entries.get(name)
    if (entry) entry.leases -= 1
  }

  /** Frees everything, once what is being read has been. */
  async close(): Promise<void> {
    for (const [name, { resident }] of [...this.entries]) {
      await resident.catch(() => undefined)
      this.evict(name)
    }
  }

  private touch(name: string): Entry | undefined {
    const entry = this.entries.get(name)
    if (!entry) return undefined
    this.entries.delete(name)
    this.entries.set(name, entry)
    return entry
  }

  private begin(name: string, length: number): void {
    const entry: Entry = { length, resident: this.load(name), held: undefined, leases: 0 }
    this.entries.set(name, entry)
    this.bytes += length
    entry.resident.then(
      (held) => {
        entry.held = held
      },
      () => {
        this.entries.delete(name)
        this.bytes -= length
      },
    )
  }

  private async makeRoom(length: number): Promise<void> {
    while (this.bytes + length > this.budget) {
      const oldest = this.oldest(() => true)
      if (oldest === undefined) throw new AssetError('ENGINE', 'Cannot run the model: weights that are in use fill their cache')
      // One that was expected by a pass that failed may still be under way.
      await this.entries.get(oldest)!.resident.catch(() => undefined)
      this.evict(oldest)
    }
  }

  /** The weight whose last use is longest ago, of those that nobody has leased and that `may` go. */
  private oldest(may: (entry: Entry, name: string) => boolean): string | undefined {
    for (const [name, entry] of this.entries) if (entry.leases === 0 && may(entry, name)) return name
    return undefined
  }

  /** Frees a weight, at once if it is in memory; one whose read failed is gone already. */
  private evict(name: string): void {
    const entry = this.entries.get(name)
    if (!entry?.held) return
    this.entries.delete(name)
    this.bytes -= entry.length
    this.free(entry.held)
  }
}
