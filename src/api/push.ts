import type { LongCall } from '../core/progress.js'
import type { Store } from '../store/store.js'
import type { Pushed } from '../transport/push.js'

const DEFAULT_NODE = 'http://127.0.0.1:5001'

/** Options of {@link push}. */
export interface PushOptions extends LongCall {
  /** the store that the asset is in; default: the one that `openStore()` opens */
  readonly store?: Store | undefined
  /** address of a Kubo node's RPC; default http://127.0.0.1:5001 */
  readonly to?: string | undefined
  /** keep the asset from the node's garbage collection */
  readonly pin?: boolean | undefined
}

/**
 * Pushes an asset, by its CID or the path of its folder, to a Kubo node: of its blocks those that the node itself lacks. When
 * this resolves, the node has counted every block under the same CID. Interrupted, the next push sends only what is missing.
 * @throws AssetError 'IO' where the node is not there or refuses, 'UNSUPPORTED' where it is too old, 'BAD_USAGE' for what is
 *   no address, 'CORRUPT' where a file here is damaged, 'NOT_FOUND', 'ABORTED'
 */
export async function push(cidOrPath: string, options: PushOptions = {}): Promise<Pushed> {
  const [{ pushAsset }, { KuboRpc }, { openAsset }, { openStore }] = await Promise.all([
    import('../transport/push.js'),
    import('../transport/kubo-rpc.js'),
    import('../store/open-asset.js'),
    import('./store.js'),
  ])
  const node = new KuboRpc(options.to ?? DEFAULT_NODE)
  try {
    await using asset = await openAsset(cidOrPath, async () => options.store ?? openStore())
    return await pushAsset(asset, node, options)
  } finally {
    await node.close()
  }
}
