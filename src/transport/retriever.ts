import { setMaxListeners } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import type { CID } from 'multiformats/cid'
import { AssetError, type ErrorCode, reasonOf, throwIfAborted } from '../core/errors.js'
import { type BlockOptions, type Broker, BusyError } from './broker.js'
import { type BrokerCounts, Standing } from './standing.js'
import { blockLimit, inlineBytes, isBlock } from './verified.js'

const PATIENCE_MS = 3000
const REST_MS = 250
/** Failures of one broker after which a block is no longer asked of it. */
const ATTEMPTS = 4
/** Wrong answers of one broker that are taken for answers that were cut off, where they did not say how long they are. */
const MOST_CUTS = 3
// What is no better next time.
const FOR_GOOD: readonly ErrorCode[] = ['BAD_INPUT', 'NOT_FOUND', 'UNSUPPORTED']

/** How a retriever waits; milliseconds. */
export interface RetrieverOptions {
  /** when a broker has had a block for so long, the next one is asked for it too */
  readonly patience?: number
  /** for so long a broker is left alone after a failure, twice as long after the next */
  readonly rest?: number
}

/** How asking a broker for a block ended; it doesn't have it where there are neither bytes nor error. */
interface Answer {
  readonly from: Standing
  readonly bytes?: Uint8Array
  readonly error?: AssetError
}

/**
 * Gets blocks from brokers and verifies them: what it gives is what the CID says. Each block is asked of the broker of the lowest
 * rank, among equals of the one that is likely to have it here first; of the next one after an error, a miss, wrong bytes, or
 * when it takes long. A broker that gave wrong bytes is not asked again.
 */
export class Retriever {
  private readonly standings: readonly Standing[]
  private readonly patience: number

  constructor(brokers: readonly Broker[], { patience = PATIENCE_MS, rest = REST_MS }: RetrieverOptions = {}) {
    this.standings = brokers.map((broker) => new Standing(broker, rest))
    this.patience = patience
  }

  /**
   * The bytes of a block, verified. A `limit` above what a block may have, 1 MiB for a leaf and 2 MiB for a node, changes nothing.
   * @throws AssetError 'NOT_FOUND' where no broker has it; 'CORRUPT' where one gave wrong bytes, 'LIMIT' where it is too
   *   large, 'IO' where one failed, and no other has it; 'BAD_INPUT' for a CID that assets don't have; 'ABORTED'
   */
  async block(cid: CID, options: Partial<BlockOptions> = {}): Promise<Uint8Array> {
    const limit = Math.min(options.limit ?? Number.POSITIVE_INFINITY, blockLimit(cid))
    const inline = inlineBytes(cid)
    if (inline) return inline
    const { signal } = options
    throwIfAborted(signal, `get the block ${cid}`)
    const stop = new AbortController()
    const onAbort = () => stop.abort(signal?.reason)
    // One signal for many blocks at the same time is no leak.
    if (signal) setMaxListeners(0, signal)
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      return await this.search(cid, { limit, signal: stop.signal })
    } finally {
      signal?.removeEventListener('abort', onAbort)
      stop.abort()
    }
  }

  private async search(cid: CID, options: { limit: number; signal: AbortSignal }): Promise<Uint8Array> {
    const { signal } = options
    const attempts = new Map(this.standings.filter(({ gone }) => gone === undefined).map((one) => [one, ATTEMPTS]))
    const running = new Map<Standing, Promise<Answer>>()
    const errors: AssetError[] = []
    const late = new Set<Standing>()
    let isLate = false
    for (;;) {
      throwIfAborted(signal, `get the block ${cid}`)
      const next = best([...attempts.keys()].filter((one) => !running.has(one)))
      if (next && (running.size === 0 || (isLate && restOf(next) === 0))) {
        if (running.size === 0) await rested(next, signal)
        running.set(next, this.ask(next, cid, options))
      }
      if (running.size === 0) throw this.notFound(cid, errors)
      const answer = await firstOf(running.values(), running.size < attempts.size ? this.patience : undefined)
      isLate = answer === undefined
      if (!answer) {
        for (const one of running.keys()) late.add(one)
        continue
      }
      const { from, bytes, error } = answer
      late.delete(from)
      if (bytes) {
        // Else each block would wait for them again.
        for (const one of late) one.tookLong(this.patience)
        return bytes
      }
      running.delete(from)
      if (error) errors.push(error)
      const left = error?.code === 'IO' ? attempts.get(from)! - 1 : 0
      if (left > 0 && from.gone === undefined) attempts.set(from, left)
      else attempts.delete(from)
    }
  }

  /** Asks a broker for a block; never rejects. */
  private async ask(from: Standing, cid: CID, options: { limit: number; signal: AbortSignal }): Promise<Answer> {
    const ended = from.ask()
    let isMeasured = true
    const onUnmeasured = () => {
      isMeasured = false
    }
    try {
      const bytes = await from.broker.block(cid, { ...options, onUnmeasured })
      if (bytes && !(await this.isRight(from, cid, bytes, options.limit, isMeasured)))
        throw new AssetError(
          from.gone === undefined ? 'IO' : 'CORRUPT',
          `Cannot use the block ${cid} of ${from.broker.name}: it is other bytes`,
        )
      ended(bytes ? { bytes: bytes.byteLength } : 'miss')
      return bytes ? { from, bytes } : { from }
    } catch (cause) {
      const error =
        cause instanceof AssetError ? cause : new AssetError('IO', `Cannot ask ${from.broker.name}: ${reasonOf(cause)}`, { cause })
      if (options.signal.aborted) ended('given up')
      else ended('failure', error instanceof BusyError ? error.milliseconds : 0)
      if (FOR_GOOD.includes(error.code)) from.gone = error.message
      return { from, error }
    }
  }

  /** False for wrong bytes, whose broker is gone then; only not at once where they may have been right and cut off. */
  private async isRight(from: Standing, cid: CID, bytes: Uint8Array, limit: number, isMeasured = true): Promise<boolean> {
    if (bytes.byteLength <= limit && (await isBlock(cid, bytes))) return true
    if (!isMeasured && bytes.byteLength < limit && ++from.cuts <= MOST_CUTS) return false
    from.gone = `Cannot trust ${from.broker.name}: the bytes that it gave for ${cid} are others; it is not asked again`
    return false
  }

  private notFound(cid: CID, errors: readonly AssetError[]): AssetError {
    const [first] = errors
    const cause = errors.length > 1 ? new AggregateError(errors) : first
    const gone = this.standings.flatMap((one) => one.gone ?? [])
    const names = this.standings.map(({ broker }) => broker.name).join(', ')
    if (first)
      return new AssetError(first.code, `Cannot get the block ${cid}: ${first.message}; try again or name another source`, { cause })
    const why = names === '' ? 'no source is named' : gone.length > 0 ? gone.join('; ') : `no source has it (${names})`
    return new AssetError('NOT_FOUND', `Cannot get the block ${cid}: ${why}; name another source`)
  }

  /** What came from each broker so far. */
  counts(): BrokerCounts[] {
    return this.standings.map(({ counts }) => counts)
  }

  /** Closes the brokers. */
  async close(): Promise<void> {
    for (const { broker } of this.standings) await broker.close?.()
  }
}

/**
 * Who is to be asked: of the lowest rank, and likely to be first there. Those that rest come after those that don't, whatever
 * their rank, the one that rests for the shortest time first.
 */
function best(standings: readonly Standing[]): Standing | undefined {
  return standings.toSorted((a, b) => restOf(a) - restOf(b) || a.rank - b.rank || a.delay - b.delay)[0]
}

/** Milliseconds for which a broker is to be left alone. */
function restOf({ restsUntil }: Standing): number {
  return Math.max(0, restsUntil - performance.now())
}

async function rested(one: Standing, signal: AbortSignal): Promise<void> {
  const rest = restOf(one)
  // Whoever waits looks at the signal itself.
  if (rest > 0) await setTimeout(rest, undefined, { signal }).catch(() => undefined)
}

/** The first answer; undefined where none comes for so many milliseconds. */
async function firstOf(answers: Iterable<Promise<Answer>>, patience: number | undefined): Promise<Answer | undefined> {
  if (patience === undefined) return Promise.race(answers)
  const late = new AbortController()
  const timer = setTimeout(patience, undefined, { signal: late.signal }).catch(() => undefined)
  try {
    return await Promise.race([...answers, timer])
  } finally {
    late.abort()
  }
}
