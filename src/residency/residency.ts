/** Bytes of a weight in memory; the same bytes for every model that holds them. */
export interface Resident {
  readonly key: string
  readonly bytes: Uint8Array<ArrayBuffer>
}

interface Entry extends Resident {
  holders: number
  readonly ready: Promise<void>
}

/**
 * The weights in memory, one set per process, keyed by content: models that share fragments share their bytes, and two
 * that ask at once share one read. Buffers of streamed weights are used again, since a pass frees and needs the same
 * sizes; with them too it stays within the budgets of all models together.
 */
export class Residency {
  private readonly entries = new Map<string, Entry>()
  private spare: ArrayBuffer[] = []
  private budget = 0
  /** bytes of all weights in memory */
  bytes = 0

  /** bytes of all buffers: of the weights in memory, and of those kept for use again */
  get bufferBytes(): number {
    return this.spare.reduce((sum, { byteLength }) => sum + byteLength, this.bytes)
  }

  /** Adds the budget of a model that is loaded, or takes off (negative) that of one that is closed. */
  addBudget(bytes: number): void {
    this.budget += bytes
    this.fit(0)
  }

  /** Takes hold of a weight; `read` fills its bytes where it isn't in memory. Every hold is to be let go once. */
  async hold(key: string, length: number, read: (target: Uint8Array) => Promise<void>): Promise<Resident> {
    let entry = this.entries.get(key)
    if (!entry) {
      const bytes = new Uint8Array(this.takeBuffer(length))
      entry = { key, bytes, holders: 0, ready: read(bytes) }
      this.entries.set(key, entry)
      this.bytes += length
    }
    entry.holders += 1
    try {
      await entry.ready
    } catch (error) {
      this.letGo(entry)
      throw error
    }
    return entry
  }

  /** Lets go of a weight; the last holder frees it. */
  letGo(resident: Resident): void {
    const entry = resident as Entry
    entry.holders -= 1
    if (entry.holders > 0) return
    this.entries.delete(entry.key)
    this.bytes -= entry.bytes.byteLength
    this.spare.push(entry.bytes.buffer)
    this.fit(0)
  }

  has(key: string): boolean {
    return this.entries.has(key)
  }

  private takeBuffer(length: number): ArrayBuffer {
    const at = this.spare.findIndex(({ byteLength }) => byteLength === length)
    if (at >= 0) return this.spare.splice(at, 1)[0]!
    this.fit(length)
    return new ArrayBuffer(length)
  }

  /** Gives back the buffers kept longest until `more` bytes fit into the budgets. */
  private fit(more: number): void {
    while (this.spare.length > 0 && this.bufferBytes + more > this.budget) this.spare.shift()
  }
}
