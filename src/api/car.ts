import { AssetError } from '../core/errors.js'
import type { LongCall } from '../core/progress.js'
import type { Store } from '../store/store.js'
import type { BlockCount } from '../transport/blocks.js'
import type { Pulled } from '../transport/pull.js'

/**
 * Writes an asset, by its CID or the path of its folder, as a new CAR file: the same asset gives the same bytes. Resolves to the
 * blocks in it.
 * @throws AssetError 'BAD_USAGE' where the file is there already, 'CORRUPT' where a file of the asset is damaged, 'NOT_FOUND', 'IO', 'ABORTED'; nothing half-written stays
 */
export async function exportCar(
  cidOrPath: string,
  out: string,
  options: LongCall & { readonly store?: Store | undefined } = {},
): Promise<BlockCount> {
  const [transport, { openAsset }, { openStore }] = await Promise.all([
    import('../transport/export-car.js'),
    import('../store/open-asset.js'),
    import('./store.js'),
  ])
  await using asset = await openAsset(cidOrPath, async () => options.store ?? openStore())
  return await transport.exportCar(asset, out, options)
}

/**
 * Takes an asset out of a CAR file into the store; every block is verified.
 * @throws AssetError 'BAD_INPUT' where it is no CAR, or has another number of roots than one and no `cid` is given, 'NOT_FOUND' where a block is missing in it, 'LIMIT', 'CORRUPT', 'IO', 'ABORTED'
 */
export async function importCar(
  path: string,
  options: LongCall & { readonly store: Store; readonly cid?: string | undefined },
): Promise<Pulled> {
  const [{ carFile }, { Retriever }, { pullAsset }, { parseCid }] = await Promise.all([
    import('../transport/car-file.js'),
    import('../transport/retriever.js'),
    import('../transport/pull.js'),
    import('../core/cid.js'),
  ])
  const car = carFile(path)
  const retriever = new Retriever([car])
  try {
    const { roots } = await car.index()
    if (options.cid === undefined && roots.length !== 1)
      throw new AssetError('BAD_INPUT', `Cannot import ${path}: it has ${roots.length} roots; say which CID is the asset's`)
    const cid = parseCid(options.cid ?? String(roots[0]))
    return await pullAsset(cid, { ...options, blocks: (wanted, call) => retriever.block(wanted, call) })
  } finally {
    await retriever.close()
  }
}
