import { AssetError } from '../core/errors.js'
import type { GraphIndex } from '../graph/cut.js'
import { shown } from '../graph/names.js'
import type { WeightSource } from '../residency/weights.js'
import type { FragmentFile } from '../store/fragment-file.js'
import type { OpenAsset } from '../store/open-asset.js'

const CHUNK = 4 * 1024 * 1024

/** Reads the weights of a graph out of the fragments of an asset, and nothing outside of them. */
export class WeightFiles {
  readonly sources: ReadonlyMap<string, WeightSource>

  /** @throws AssetError 'BAD_INPUT' where the graph points outside the asset's files */
  constructor(
    private readonly asset: OpenAsset,
    index: GraphIndex,
  ) {
    const sources = new Map<string, WeightSource>()
    for (const { name, data } of index.weights.values()) {
      const file = asset.manifest.files.get(data.location)
      if (!file || data.offset + data.length > file.size) {
        throw new AssetError(
          'BAD_INPUT',
          `Cannot run ${asset.where}: its graph looks for ${shown(name)} in ${shown(data.location)}, where it isn't`,
        )
      }
      const key = `${file.cid}:${data.offset}:${data.length}`
      sources.set(name, { key, length: data.length, read: (target) => this.read(data.location, target, data.offset) })
    }
    this.sources = sources
  }

  /** Fills `target` from a fragment, several reads in flight. Resolves to the bytes of the pages read. */
  async read(location: string, target: Uint8Array, offset: number): Promise<number> {
    const file = await this.asset.open(location)
    try {
      if (target.byteLength <= CHUNK) return await file.read(target, offset)
      return await readChunks(file, target, offset)
    } finally {
      await file.close()
    }
  }
}

async function readChunks(file: Pick<FragmentFile, 'read'>, target: Uint8Array, offset: number): Promise<number> {
  let next = 0
  let pages = 0
  const lane = async () => {
    while (next < target.byteLength) {
      const at = next
      // Chunks end where a page does, so that no page is read twice.
      next = Math.min(target.byteLength, at + CHUNK - ((offset + at) % 4096))
      const read = await file.read(target.subarray(at, next), offset + at)
      pages += read
    }
  }
  await Promise.all([lane(), lane(), lane(), lane()])
  return pages
}
