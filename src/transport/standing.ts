import type { Broker } from './broker.js'

/** What came from a broker, and what did not. */
export interface BrokerCounts {
  readonly name: string
  /** blocks and bytes that were verified and taken */
  readonly blocks: number
  readonly bytes: number
  /** blocks that it did not have */
  readonly misses: number
  /** requests that failed */
  readonly failures: number
  /** why it is not asked any more: it gave wrong bytes, or is nothing that gives blocks */
  readonly gone?: string
}

// What a request costs beside its bytes, in bytes.
const REQUEST_BYTES = 64 * 1024
// A broker that nobody has asked is taken for one of 20 MB/s, until it is known; that counts as much as a leaf does.
const EXPECTED = { seconds: 0.05, bytes: 2 ** 20 }
// What happened before counts less with every request.
const MEMORY = 0.9
const FAILURE_SECONDS = 1
const MOST_REST_MS = 10_000

/** How a request ended; one is given up when another broker answered first. */
type Outcome = 'miss' | 'failure' | 'given up' | { readonly bytes: number }

/** A broker and how it does: what it gave, how fast it is, and since when it rests. */
export class Standing {
  blocks = 0
  bytes = 0
  misses = 0
  failures = 0
  gone: string | undefined
  /** wrong answers that may have been cut off */
  cuts = 0
  /** requests that it has not answered yet */
  asked = 0
  /** the time, in milliseconds, until which it is better left alone */
  restsUntil = 0
  private rest = 0
  private seconds = EXPECTED.seconds
  private weight = EXPECTED.bytes

  /** @param shortestRest milliseconds after a first failure; each next one doubles it */
  constructor(
    readonly broker: Broker,
    private readonly shortestRest: number,
  ) {}

  get rank(): number {
    return this.broker.rank ?? 0
  }

  /** Seconds after which one more block would be here, as far as is known. */
  get delay(): number {
    return (this.seconds / this.weight) * 2 ** 20 * (this.asked + 1)
  }

  /** Notes that it is asked; what this gives is to be called once, with how that ended. */
  ask(): (outcome: Outcome, rest?: number) => void {
    const began = performance.now()
    this.asked += 1
    return (outcome, rest = 0) => {
      const now = performance.now()
      // Requests at the same time share what it can do.
      this.seconds = this.seconds * MEMORY + (now - began) / 1000 / this.asked
      this.weight = Math.max(1, this.weight * MEMORY)
      this.asked -= 1
      if (outcome === 'failure') this.fail(began, now, rest)
      else if (outcome !== 'given up') this.rest = 0
      if (outcome === 'miss') this.misses += 1
      else if (typeof outcome === 'object') this.take(outcome.bytes)
    }
  }

  private take(bytes: number): void {
    this.blocks += 1
    this.bytes += bytes
    this.weight += bytes + REQUEST_BYTES
  }

  private fail(began: number, now: number, asked: number): void {
    this.failures += 1
    this.seconds += FAILURE_SECONDS
    this.leaveAlone(began, now, asked)
  }

  /** Notes that another broker had to be asked after so many milliseconds, and was first. */
  tookLong(milliseconds: number): void {
    const now = performance.now()
    this.leaveAlone(now - milliseconds, now)
  }

  private leaveAlone(began: number, now: number, asked = 0): void {
    // Those that were asked before it began to rest fail for the same reason.
    if (began >= this.restsUntil) this.rest = Math.min(Math.max(this.shortestRest, this.rest * 2), MOST_REST_MS)
    this.restsUntil = Math.max(this.restsUntil, now + Math.max(this.rest, Math.min(asked, MOST_REST_MS)))
  }

  get counts(): BrokerCounts {
    const { blocks, bytes, misses, failures, gone } = this
    return { name: this.broker.name, blocks, bytes, misses, failures, ...(gone !== undefined && { gone }) }
  }
}
