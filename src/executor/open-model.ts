import { stat } from 'node:fs/promises'
import { isCid, parseCid } from '../core/cid.js'
import { AssetError } from '../core/errors.js'
import { type OpenAsset, openAsset } from '../store/open-asset.js'
import { Store } from '../store/store.js'

/** Where an asset is looked for. */
export interface Places {
  /** the path of a store; the default one when left out */
  readonly store: string | undefined
  /** where to fetch from what the store lacks, as people write it */
  readonly sources: readonly string[]
}

/**
 * Opens an asset for running: a folder, or what is in the store, or else what sources have, while it arrives.
 * @throws AssetError 'NOT_FOUND', 'BAD_USAGE' for a source that is none, 'BAD_INPUT', 'CORRUPT', 'IO', 'ABORTED'
 */
export async function openModel(cidOrPath: string, { store: path, sources }: Places, signal: AbortSignal): Promise<OpenAsset> {
  const isStored = async () => (await Store.open(path)).has(cidOrPath)
  const isFolder = await stat(cidOrPath).catch(() => undefined)
  if (sources.length === 0 || isFolder || !isCid(cidOrPath) || (await isStored())) return openAsset(cidOrPath, () => Store.open(path))
  // Only now: a model that is there needs none of the memory that this takes.
  const [{ sourcesOf }, { Retriever }, { openArriving }] = await Promise.all([
    import('../transport/sources.js'),
    import('../transport/retriever.js'),
    import('../transport/arriving-asset.js'),
  ])
  const retriever = new Retriever(sourcesOf(sources))
  try {
    const asset = await openArriving(parseCid(cidOrPath), await Store.open(path), (cid, options) => retriever.block(cid, options), signal)
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
