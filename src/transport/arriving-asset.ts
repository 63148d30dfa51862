import type { CID } from 'multiformats/cid'
import { AssetError } from '../core/errors.js'
import { FragmentFile } from '../store/fragment-file.js'
import { type AssetFacts, assetReader, type OpenAsset } from '../store/open-asset.js'
import { placeIn } from '../store/place.js'
import type { Store } from '../store/store.js'
import type { Blocks } from './blocks.js'
import { LazyPull } from './lazy-pull.js'
import { fetchManifest } from './manifest-of.js'

/** An asset that is read while it arrives. */
export type ArrivingAsset = OpenAsset & { readonly arriving: LazyPull }

/**
 * Opens an asset that is not in the store, or not all of it, for use while it is fetched: only its manifest is there when this
 * resolves. Files are fetched when they are read, and as its `arriving` is told to. Close it when done.
 * @throws AssetError 'BAD_INPUT' | 'LIMIT' where the blocks are not those of an asset, 'IO', 'ABORTED', and what `blocks` throws
 */
export async function openArriving(cid: CID, store: Store, blocks: Blocks, signal?: AbortSignal): Promise<ArrivingAsset> {
  const key = String(cid)
  const arrival = await store.arrive(key, () => fetchManifest(cid, blocks, signal))
  let arriving: LazyPull
  try {
    arriving = await LazyPull.begin(arrival, blocks)
  } catch (error) {
    await arrival.close()
    throw error
  }
  const facts: AssetFacts = {
    ...arrival.described,
    cid: key,
    where: key,
    store,
    arriving,
    placeOf: (file) => placeIn(store.layout, file),
    close: () => arriving.close(),
  }
  const stored = assetReader(facts)
  const whole = async (path: string) => {
    const file = arriving.at(path)
    if (file) await arriving.whole(file)
  }
  return {
    ...stored,
    arriving,
    async readFile(path, limit) {
      await whole(path)
      return stored.readFile(path, limit)
    },
    async pages(path) {
      await whole(path)
      return stored.pages(path)
    },
    async open(path) {
      const file = arriving.at(path)
      if (!file) return stored.open(path)
      const what = `${path} of ${key}`
      const openNow = async () => {
        const { path: place, sums } = file.begun!
        if (!file.isFinished) {
          const early = await FragmentFile.open(place, what, sums.size, sums.pages).catch((error: unknown) => {
            // It has got its place meanwhile.
            if (!(error instanceof AssetError && error.code === 'NOT_FOUND')) throw error
          })
          if (early) return early
        }
        return FragmentFile.open(store.layout.file(file.key), what, sums.size, sums.pages)
      }
      return {
        async read(target, offset) {
          if (target.byteLength === 0) return 0
          await arriving.wait(file, offset, target.byteLength)
          const now = await openNow()
          try {
            return await now.read(target, offset)
          } finally {
            await now.close()
          }
        },
        close: async () => undefined,
      }
    },
  }
}
