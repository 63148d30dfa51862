import type { IncomingHttpHeaders } from 'node:http'
import { AssetError } from '../core/errors.js'
import type { Broker } from './broker.js'
import { HttpOrigin } from './http.js'
import type { HttpReply } from './http-reply.js'
import { shown } from './shown.js'
import type { SpoolPlace } from './spool-file.js'
import { type CarReply, type From, spooledCar } from './spooled-car.js'

/**
 * A CAR that a web server has. Where it breaks off it is gone on with, if the server says that it is still the same: by a strong
 * ETag, or by when it was changed last.
 * Source: RFC 9110, 8.8 (validators), 13.1.5 (If-Range), 14 (ranges)
 * @param path below the origin's address, with what is asked for after it
 * @param kind what it is, for messages
 */
export function webCar(origin: HttpOrigin, path: string, spools: SpoolPlace, kind = 'car'): Broker {
  const address = origin.name + path
  const name = `${kind} ${shown(address)}`
  const open = async (from: From | undefined, signal: AbortSignal): Promise<CarReply | undefined> => {
    const accept = 'application/vnd.ipld.car, application/octet-stream, */*;q=0.1'
    const range = from && { range: `bytes=${from.start}-`, 'if-range': from.version }
    const reply = await origin.request({ path, headers: { accept, ...range }, signal })
    const body = (limit: number) => reply.body(limit)
    const cancel = () => reply.cancel()
    if (reply.status === 200) return { start: 0, version: versionOf(reply.headers), body, cancel }
    if (from && goesOn(reply, from)) return { ...from, body, cancel }
    await cancel()
    if (from && isTheEnd(reply, from)) return { ...from, body: nothing, cancel }
    if (from && [206, 412, 416].includes(reply.status)) return open(undefined, signal)
    if (reply.status === 404 || reply.status === 410) return undefined
    const why = reply.status === 202 ? 'it is not there yet (status 202); try again later' : `it answers with status ${reply.status}`
    throw new AssetError('IO', `Cannot fetch ${name}: ${why}`)
  }
  const broker = spooledCar({ name, address, open }, spools)
  return {
    ...broker,
    async close() {
      await broker.close!()
      await origin.close()
    },
  }
}

/** What a server calls the bytes that it gives; undefined where that does not say that they are the same. */
function versionOf({ etag, date, 'last-modified': changed }: IncomingHttpHeaders): string | undefined {
  if (etag !== undefined) return /^"[\x21\x23-\x7e]+"$/.test(etag) ? etag : undefined
  // Within the same second it could have been changed again.
  return changed !== undefined && Date.parse(date ?? '') - Date.parse(changed) >= 1000 ? changed : undefined
}

/** True for the bytes that were asked for, of that version. */
function goesOn({ status, headers }: HttpReply, { start, version }: From): boolean {
  const isOther = headers.etag !== undefined && headers.etag !== version && headers['last-modified'] !== version
  return status === 206 && !isOther && headers['content-range']?.startsWith(`bytes ${start}-`) === true
}

/** True where all bytes are there. */
function isTheEnd({ status, headers }: HttpReply, { start }: From): boolean {
  return status === 416 && headers['content-range'] === `bytes */${start}`
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

/**
 * What an http or https URL stands for: a CAR where its path ends in .car or it asks for `format=car`, else a trustless gateway,
 * whose address it is up to /ipfs.
 * @param isPublic where the URL comes from others
 * @throws AssetError 'BAD_USAGE' for what is no such URL
 */
export function webSource(text: string, isPublic: boolean, spools: SpoolPlace, gatewayAt: (address: string) => Broker): Broker {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url) throw new AssetError('BAD_USAGE', `Cannot use the source ${JSON.stringify(shown(text))}: it is not a URL`)
  const login = url.username || url.password ? `${url.username}:${url.password}@` : ''
  const host = `${url.protocol}//${login}${url.host}`
  if (!url.pathname.endsWith('.car') && url.searchParams.get('format') !== 'car')
    return gatewayAt(host + url.pathname.replace(/\/ipfs(\/.*)?$/, '').replace(/\/$/, ''))
  return webCar(new HttpOrigin(host, undefined, isPublic), url.pathname + url.search, spools)
}
