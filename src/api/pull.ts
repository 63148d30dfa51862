import type { CID } from 'multiformats/cid'
import { AssetError } from '../core/errors.js'
import type { LongCall } from '../core/progress.js'
import type { Store } from '../store/store.js'
import type { Pulled, PullOptions, Repaired } from '../transport/pull.js'
import type { BrokerCounts } from '../transport/standing.js'

/** Where an asset is pulled from, and into which store. */
export interface FromOptions extends LongCall {
  /** the default store when left out */
  readonly store?: Store | undefined
  /** sources, see `masset pull --help`; default: what is noted in the store, and MODULE_ASSETS_SOURCES */
  readonly from?: readonly string[] | undefined
}

/** What came from each source. */
export interface FromSources {
  readonly sources: readonly BrokerCounts[]
}

/**
 * Pulls an asset into a store; only blocks that it lacks are fetched, each verified before anything else is done with it.
 * Interrupted in whatever way, the next pull fetches only what is missing then.
 * @throws AssetError 'BAD_USAGE' without a source; 'BAD_INPUT' | 'LIMIT' for what is no asset; 'NOT_FOUND' where no source has a
 *   block, 'CORRUPT' where what they gave is wrong, 'IO', 'ABORTED'
 */
export async function pull(cid: string, options: FromOptions = {}): Promise<Pulled & FromSources> {
  const { pullAsset } = await import('../transport/pull.js')
  return fromSources('pull', cid, options, pullAsset)
}

/**
 * Reads every byte of an asset in a store and replaces what is damaged; only damaged leaves are fetched. Other processes may read
 * the asset meanwhile.
 * @throws AssetError 'NOT_FOUND' where the asset is not in the store; 'BAD_USAGE' where something has to be fetched and there is no source; else as {@link pull}
 */
export async function repair(cid: string, options: FromOptions = {}): Promise<Repaired & FromSources> {
  const { repairAsset } = await import('../transport/pull.js')
  return fromSources('repair', cid, options, repairAsset)
}

async function fromSources<T>(
  doing: string,
  text: string,
  { from, store: given, ...call }: FromOptions,
  use: (cid: CID, options: PullOptions) => Promise<T>,
): Promise<T & FromSources> {
  const [{ parseCid }, { openStore }, { Retriever }, { sourcesFor }] = await Promise.all([
    import('../core/cid.js'),
    import('./store.js'),
    import('../transport/retriever.js'),
    import('../transport/sources.js'),
  ])
  const cid = parseCid(text)
  const store = given ?? (await openStore())
  const brokers = await sourcesFor(String(cid), store, from)
  const retriever = new Retriever(brokers)
  const noSource = `Cannot ${doing} ${cid}: no source is known; name some (--from kubo:URL, gateway:URL, FILE.car or a URI, or MODULE_ASSETS_SOURCES)`
  try {
    const result = await use(cid, {
      ...call,
      store,
      blocks: async (wanted, options) => {
        if (brokers.length === 0) throw new AssetError('BAD_USAGE', noSource)
        return retriever.block(wanted, options)
      },
    })
    return { ...result, sources: retriever.counts() }
  } finally {
    await retriever.close()
  }
}
