import type { CID } from 'multiformats/cid'
import { AssetError } from '../core/errors.js'
import { type Broker, BusyError } from './broker.js'
import { HttpOrigin } from './http.js'
import type { HttpReply } from './http-reply.js'

const RAW = 'application/vnd.ipld.raw'

/**
 * A trustless HTTP gateway, such as Kubo's or `masset gateway`, asked for single blocks.
 * Source: the Trustless Gateway Specification.
 * @param address `https://HOST`, without /ipfs
 * @param isPublic where the address comes from others
 * @throws AssetError 'BAD_USAGE' for what is no address
 */
export function gateway(address: string, patience?: number, isPublic?: boolean): Broker {
  const origin = new HttpOrigin(address, patience, isPublic)
  const name = `gateway ${origin.name}`

  /** A reply with what was asked for; undefined where the gateway doesn't have it. */
  async function ask(path: string, signal: AbortSignal | undefined): Promise<HttpReply | undefined> {
    const reply = await origin.request({ path, headers: { accept: RAW }, signal })
    const given = String(reply.headers['content-type'] ?? RAW)
      .split(';', 1)[0]!
      .trim()
      .toLowerCase()
    if (reply.status === 200 && (given === RAW || given === 'application/octet-stream')) return reply
    await reply.cancel()
    if (reply.status === 404 || reply.status === 410) return undefined
    const what = reply.status === 200 ? `${given} instead of ${RAW}` : `status ${reply.status}`
    const message = `Cannot use the answer of the ${name}: it is ${what}`
    // Seconds; where it is a date, what is usual will do.
    const wait = Number(reply.headers['retry-after'])
    throw wait > 0 ? new BusyError(message, wait * 1000) : new AssetError('IO', message)
  }

  return {
    name,
    async block(cid: CID, { limit, signal, onUnmeasured }) {
      const reply = await ask(`/ipfs/${cid}?format=raw`, signal)
      if (reply && !reply.isMeasured) onUnmeasured?.()
      return reply?.bytes(limit)
    },
    close: () => origin.close(),
  }
}
