import type { Broker } from './broker.js'
import { KuboRpc } from './kubo-rpc.js'

/** The blocks that a Kubo node has or can find, by its RPC. @throws AssetError 'BAD_USAGE' for what is no address */
export function kubo(address: string, patience?: number): Broker {
  const rpc = new KuboRpc(address, patience)
  return {
    name: rpc.name,
    block: (cid, options) => rpc.block(cid, options),
    close: () => rpc.close(),
  }
}
