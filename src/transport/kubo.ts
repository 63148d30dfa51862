import type { CID } from 'multiformats/cid'
import { AssetError } from '../core/errors.js'
import type { Broker } from './broker.js'
import { HttpOrigin } from './http.js'

const MOST_MESSAGE = 64 * 1024
// What a node says of a block that it doesn't have, offline and where nobody else has it either.
const MISSING = /not found|context deadline exceeded|timed out/i

/** The blocks that a Kubo node has or can find, by its RPC. @throws AssetError 'BAD_USAGE' for what is no address */
export function kubo(address: string, patience?: number): Broker {
  const origin = new HttpOrigin(address, patience)
  const name = `kubo ${origin.name}`
  return {
    name,
    async block(cid: CID, { limit, signal }) {
      const reply = await origin.request({ method: 'POST', path: `/api/v0/block/get?arg=${cid}&timeout=30s`, signal })
      if (reply.status === 200) return reply.bytes(limit)
      const said = Buffer.from(await reply.bytes(MOST_MESSAGE)).toString()
      if (reply.status === 500 && MISSING.test(said)) return undefined
      throw new AssetError(
        'IO',
        `Cannot get a block of the ${name}: it answers ${reply.status} ${said.trim()}; check the address of its RPC`,
      )
    },
    close: () => origin.close(),
  }
}
