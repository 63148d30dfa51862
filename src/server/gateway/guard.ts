import type { IncomingMessage } from 'node:http'
import { isIPv4 } from 'node:net'
import { Refusal } from './refusal.js'

/** True for an address, or a name, of this machine alone. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, '$1').toLowerCase()
  return bare === 'localhost' || bare === '::1' || (isIPv4(bare) && bare.startsWith('127.'))
}

/**
 * Refuses what is not for this server. Pages of the web reach loopback from the browser of whoever looks at them, some under
 * a name of their own that leads there; none of them may read what is served to this machine alone.
 * @throws Refusal 403, 405, 413
 */
export function guard({ method, headers }: IncomingMessage, isLocal: boolean): void {
  if (method !== 'GET' && method !== 'HEAD')
    throw new Refusal(405, 'Cannot do that here: things can only be read, by GET and HEAD', { Allow: 'GET, HEAD' })
  if ((headers['content-length'] ?? '0') !== '0' || headers['transfer-encoding'] !== undefined)
    throw new Refusal(413, 'Cannot take a body: there is nothing to send here')
  const name = (headers.host ?? '').replace(/:\d*$/, '')
  if (isLocal && name !== '' && !isLoopback(name))
    throw new Refusal(403, 'Cannot answer under that name: this server is for its own machine alone')
  const { origin } = headers
  if (origin !== undefined && origin !== `http://${headers.host}`)
    throw new Refusal(403, 'Cannot answer a page of another site: ask without an Origin header')
}
