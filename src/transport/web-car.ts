import { AssetError } from '../core/errors.js'
import type { Broker } from './broker.js'
import { HttpOrigin } from './http.js'
import { spooledCar } from './spooled-car.js'

/**
 * A CAR that a web server has.
 * @param path below the origin's address, with what is asked for after it
 * @param kind what it is, for messages
 */
export function webCar(origin: HttpOrigin, path: string, kind = 'car'): Broker {
  const name = `${kind} ${origin.name}${path}`
  const broker = spooledCar(name, async (limit, signal) => {
    const reply = await origin.request({
      path,
      headers: { accept: 'application/vnd.ipld.car, application/octet-stream, */*;q=0.1' },
      signal,
    })
    if (reply.status === 200) return reply.body(limit)
    reply.cancel()
    if (reply.status === 404 || reply.status === 410) return undefined
    const why = reply.status === 202 ? 'it is not there yet (status 202); try again later' : `it answers with status ${reply.status}`
    throw new AssetError('IO', `Cannot fetch ${name}: ${why}`)
  })
  return {
    ...broker,
    async close() {
      await broker.close!()
      await origin.close()
    },
  }
}

/**
 * What an http or https URL stands for: a CAR where its path ends in .car or it asks for `format=car`, else a trustless gateway,
 * whose address it is up to /ipfs.
 * @param isPublic where the URL comes from others
 * @throws AssetError 'BAD_USAGE' for what is no such URL
 */
export function webSource(text: string, isPublic: boolean, gatewayAt: (address: string) => Broker): Broker {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url) throw new AssetError('BAD_USAGE', `Cannot use the source ${JSON.stringify(text)}: it is not a URL`)
  const login = url.username || url.password ? `${url.username}:${url.password}@` : ''
  const host = `${url.protocol}//${login}${url.host}`
  if (!url.pathname.endsWith('.car') && url.searchParams.get('format') !== 'car')
    return gatewayAt(host + url.pathname.replace(/\/ipfs(\/.*)?$/, '').replace(/\/$/, ''))
  return webCar(new HttpOrigin(host, undefined, isPublic), url.pathname + url.search)
}
