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
 * that ask at once share one read. Buffers of streamed weights are used again: a pass frees and needs the same sizes.
 */
export class Residency {
  private readonly entries = new Map<string, Entry>()
  private spare: { buffer: ArrayBuffer; bytes: number }[] = []
  /** bytes of all weights in memory */
  bytes = 0

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
    // One of a size is kept: what is read ahead next is often of the size that was just freed.
    const buffer = entry.bytes.buffer
    if (!this.spare.some((kept) => kept.bytes === buffer.byteLength)) this.spare.push({ buffer, bytes: buffer.byteLength })
    if (this.spare.length > 4) this.spare.shift()
  }

  has(key: string): boolean {
    return this.entries.has(key)
  }

  /** Gives back the buffers kept for use again. */
  trim(): void {
    this.spare = []
  }

  private takeBuffer(length: number): ArrayBuffer {
    const at = this.spare.findIndex(({ bytes }) => bytes === length)
    return at < 0 ? new ArrayBuffer(length) : this.spare.splice(at, 1)[0]!.buffer
  }
}
