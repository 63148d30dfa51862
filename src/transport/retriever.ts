import type { CID } from 'multiformats/cid'
import { AssetError, throwIfAborted } from '../core/errors.js'
import type { Block, BlockOptions, Broker } from './broker.js'
import { blockLimit, inlineBytes, isBlock } from './verified.js'

/** What came from a broker, and what did not. */
export interface BrokerCounts {
  readonly name: string
  /** blocks and bytes that were verified and taken */
  readonly blocks: number
  readonly bytes: number
  /** blocks that it did not have */
  readonly misses: number
  /** requests that failed, stalled, or brought wrong bytes */
  readonly failures: number
  /** true where it gave wrong bytes: it is not asked again */
  readonly lied: boolean
}

type Counting = { -readonly [name in keyof BrokerCounts]: BrokerCounts[name] } & { readonly broker: Broker }

/** Gets blocks from brokers and verifies them: what it gives is what the CID says. */
export class Retriever {
  private readonly all: readonly Counting[]

  constructor(brokers: readonly Broker[]) {
    this.all = brokers.map((broker) => ({ broker, name: broker.name, blocks: 0, bytes: 0, misses: 0, failures: 0, lied: false }))
  }

  /**
   * The bytes of a block, verified.
   * @throws AssetError 'NOT_FOUND' where no source has it, 'IO' where one that might have it failed, 'BAD_INPUT' for a CID that assets don't have, 'ABORTED'
   */
  async block(cid: CID, options: Partial<BlockOptions> = {}): Promise<Uint8Array> {
    const limit = Math.min(options.limit ?? Number.POSITIVE_INFINITY, blockLimit(cid))
    const inline = inlineBytes(cid)
    if (inline) return inline
    const failures: unknown[] = []
    for (const one of this.all.filter(({ lied }) => !lied)) {
      throwIfAborted(options.signal, `get the block ${cid}`)
      try {
        const bytes = await one.broker.block(cid, { limit, signal: options.signal })
        if (bytes === undefined) one.misses += 1
        else if (this.take(one, cid, bytes, limit)) return bytes
      } catch (error) {
        one.failures += 1
        failures.push(error)
      }
    }
    throwIfAborted(options.signal, `get the block ${cid}`)
    const names = this.all.map(({ name }) => name).join(', ')
    if (failures.length === 0)
      throw new AssetError('NOT_FOUND', `Cannot get the block ${cid}: no source has it (${names}); name another one`)
    const [first] = failures
    throw new AssetError('IO', `Cannot get the block ${cid}: ${first instanceof Error ? first.message : first}`, {
      cause: failures.length > 1 ? new AggregateError(failures) : first,
    })
  }

  /**
   * The blocks of a DAG, verified, each as it comes out of one stream, where a broker can do that. Ends early and without an
   * error where that broker does: what is missing then is to be asked for by `block`.
   */
  async *dag(root: CID, options: Partial<BlockOptions> = {}): AsyncGenerator<Block> {
    const one = this.all.find(({ broker, lied }) => broker.dag && !lied)
    if (!one) return
    try {
      const limit = options.limit ?? blockLimit(root)
      for await (const { cid, bytes } of one.broker.dag!(root, { limit, signal: options.signal })) {
        if (!this.take(one, cid, bytes, Math.min(limit, blockLimit(cid)))) return
        yield { cid, bytes }
      }
    } catch {
      one.failures += 1
    }
    throwIfAborted(options.signal, `get the blocks of ${root}`)
  }

  private take(one: Counting, cid: CID, bytes: Uint8Array, limit: number): boolean {
    if (bytes.byteLength > limit || !isBlock(cid, bytes)) {
      one.lied = true
      one.failures += 1
      return false
    }
    one.blocks += 1
    one.bytes += bytes.byteLength
    return true
  }

  /** What came from each broker so far. */
  counts(): BrokerCounts[] {
    return this.all.map(({ broker: _, ...counts }) => counts)
  }

  async close(): Promise<void> {
    for (const { broker } of this.all) await broker.close?.()
  }
}
