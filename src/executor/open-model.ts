import { stat } from 'node:fs/promises'
import { isCid, parseCid } from '../core/cid.js'
import { AssetError } from '../core/errors.js'
import { type OpenAsset, openAsset } from '../store/open-asset.js'
import { Store } from '../store/store.js'

/** Where an asset is looked for. */
export interface Places {
  /** the path of a store; the default one when left out */
  readonly store: string | undefined
  /** where to fetch from what the store lacks, as people write it; those noted for the asset and the usual ones when left out */
  readonly sources: readonly string[] | undefined
}

/**
 * Opens an asset for running: a folder, or what is in the store, or else what sources have, while it arrives.
 * @throws AssetError 'NOT_FOUND', 'BAD_USAGE' for a source that is none, 'BAD_INPUT', 'CORRUPT', 'IO', 'ABORTED'
 */
export async function openModel(cidOrPath: string, { store: path, sources }: Places, signal: AbortSignal): Promise<OpenAsset> {
  const isElsewhere = isCid(cidOrPath) && !(await stat(cidOrPath).catch(() => undefined))
  const getStore = () => Store.open(path)
  if (!isElsewhere) return openAsset(cidOrPath, getStore)
  const [cid, store] = [parseCid(cidOrPath), await getStore()]
  if (await store.has(cidOrPath)) return openAsset(cidOrPath, getStore)
  // Only now: a model that is there needs none of the memory that this takes.
  const [{ sourcesFor }, { Retriever }, { openArriving }] = await Promise.all([
    import('../transport/sources.js'),
    import('../transport/retriever.js'),
    import('../transport/arriving-asset.js'),
  ])
  const brokers = await sourcesFor(String(cid), store, sources)
  if (brokers.length === 0) return openAsset(cidOrPath, getStore)
  const retriever = new Retriever(brokers)
  try {
    const asset = await openArriving(cid, store, (cid, options) => retriever.block(cid, options), signal)
    const close = async () => {
      await asset.close()
      await retriever.close()
    }
    return { ...asset, close, [Symbol.asyncDispose]: close }
  } catch (error) {
    await retriever.close()
    throw signal.aborted ? new AssetError('ABORTED', 'Cannot load the model: it was cancelled', { cause: error }) : error
  }
}
