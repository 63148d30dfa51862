/** A value that is shared while somebody holds it. */
export interface Held<T> {
  readonly value: T
  release(): void
}

interface Entry<T> {
  readonly opening: Promise<T>
  holders: number
  isDropped: boolean
  timer?: NodeJS.Timeout
}

/** How to let go of what was shared, and how much of it may wait for its next holder. */
interface Sharing<T> {
  close(value: T): Promise<void>
  /** milliseconds that a value without a holder stays open */
  readonly lingers: number
  /** values without a holder that may stay open */
  readonly most: number
}

/**
 * Values by key, opened once for all who hold them at the same time, and kept for a moment after: a client that asks for
 * one block after the other has everything opened once.
 */
export class Lingering<T> {
  readonly #entries = new Map<string, Entry<T>>()
  /** without a holder, longest first */
  readonly #idle = new Set<string>()
  readonly #closing = new Set<Promise<void>>()

  constructor(private readonly sharing: Sharing<T>) {}

  /** Holds the value of a key; `open` is called where nobody has it open. @throws whatever that throws */
  async hold(key: string, open: () => Promise<T>): Promise<Held<T>> {
    let entry = this.#entries.get(key)
    if (!entry) {
      entry = { opening: open(), holders: 0, isDropped: false }
      this.#entries.set(key, entry)
    }
    entry.holders += 1
    clearTimeout(entry.timer)
    this.#idle.delete(key)
    const held = entry
    try {
      const value = await held.opening
      let isReleased = false
      const release = () => {
        if (isReleased) return
        isReleased = true
        this.#release(key, held)
      }
      return { value, release }
    } catch (error) {
      if (this.#entries.get(key) === held) this.#entries.delete(key)
      throw error
    }
  }

  /** Whoever asks from now on gets it opened anew. */
  drop(key: string): void {
    const entry = this.#entries.get(key)
    if (!entry) return
    this.#entries.delete(key)
    this.#idle.delete(key)
    clearTimeout(entry.timer)
    entry.isDropped = true
    if (entry.holders === 0) this.#close(entry)
  }

  /** Closes what nobody holds, and waits for that. */
  async close(): Promise<void> {
    for (const key of [...this.#idle]) this.drop(key)
    await Promise.all(this.#closing)
  }

  #release(key: string, entry: Entry<T>): void {
    entry.holders -= 1
    if (entry.holders > 0) return
    if (entry.isDropped) {
      this.#close(entry)
      return
    }
    this.#idle.add(key)
    entry.timer = setTimeout(() => this.drop(key), this.sharing.lingers).unref()
    for (const oldest of this.#idle) {
      if (this.#idle.size <= this.sharing.most) break
      this.drop(oldest)
    }
  }

  #close(entry: Entry<T>): void {
    const closed = entry.opening.then((value) => this.sharing.close(value)).catch(() => undefined)
    this.#closing.add(closed)
    closed.finally(() => this.#closing.delete(closed))
  }
}
