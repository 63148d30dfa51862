import { once } from 'node:events'
import http, { type ClientRequest, type IncomingMessage } from 'node:http'
import https from 'node:https'
import { AssetError, systemCode, throwIfAborted } from '../core/errors.js'
import { isOwnHost, plainLookup, publicLookup, redirectKind } from './addresses.js'
import { boundTo, HttpFailures } from './http-failures.js'
import { type Exchange, type HttpReply, KeptReply } from './http-reply.js'
import type { Patience } from './patience.js'
import { ReadingAgent } from './reading-agent.js'
import { shown } from './shown.js'

const MOST_REDIRECTS = 5
const MOST_CONNECTIONS = 16
const PATIENCE_MS = 60_000

/** What is asked for. */
export interface HttpRequest {
  /** below the address of the origin: `/ipfs/CID?format=raw` */
  readonly path: string
  readonly method?: 'GET' | 'HEAD' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
  /** sent piece by piece; the bytes of one may be used again when the next is asked for */
  readonly body?: AsyncIterable<Uint8Array> | undefined
  readonly signal?: AbortSignal | undefined
  /** milliseconds without progress that are borne, where it is not as usual */
  readonly patience?: number
  /** a redirect is given as it came: whoever asks follows it */
  readonly follow?: false
}

function decoded(part: string, address: string): string {
  try {
    return decodeURIComponent(part)
  } catch (cause) {
    const why = 'its name or password is not percent-encoded as it has to be'
    throw new AssetError('BAD_USAGE', `Cannot use the address ${JSON.stringify(shown(address))}: ${why}`, { cause })
  }
}

/** A web server that is asked for much: connections are kept, replies watched and bounded, credentials never given to another. */
export class HttpOrigin {
  /** its address without credentials, for messages */
  readonly name: string
  private readonly base: URL
  private readonly authorization: string | undefined
  private readonly agent: http.Agent
  private readonly failures: HttpFailures

  /**
   * @param address `http://HOST:PORT/PREFIX`, with `USER:PASSWORD@` where it asks for that
   * @param isPublic where the address comes from others: whatever it says, nothing but the public internet is asked
   * @throws AssetError 'BAD_USAGE' for what is no address of a web server
   */
  constructor(
    address: string,
    private readonly patience: number = PATIENCE_MS,
    private readonly isPublic = false,
  ) {
    const url = URL.canParse(address) ? new URL(address) : undefined
    if (!url || !/^https?:$/.test(url.protocol) || url.search || url.hash) {
      throw new AssetError('BAD_USAGE', `Cannot use the address ${JSON.stringify(shown(address))}: give one such as http://127.0.0.1:5001`)
    }
    if (isPublic && isOwnHost(url.hostname))
      throw new AssetError('BAD_USAGE', `Cannot use the address ${JSON.stringify(shown(address))}: it is not on the public internet`)
    const login = [url.username, url.password].map((part) => decoded(part, address))
    if (url.username || url.password) this.authorization = `Basic ${Buffer.from(login.join(':')).toString('base64')}`
    url.username = ''
    url.password = ''
    this.base = url
    this.name = url.href.replace(/\/$/, '')
    this.failures = new HttpFailures(this.name)
    const kept = { keepAlive: true, maxSockets: MOST_CONNECTIONS }
    this.agent = url.protocol === 'https:' ? new https.Agent(kept) : new ReadingAgent(kept)
  }

  /**
   * Asks, and follows where the reply sends on to.
   * @throws AssetError 'IO' where there is no reply, a redirect that is not to be followed, or a compressed body; 'ABORTED'
   */
  async request(request: HttpRequest): Promise<HttpReply> {
    let url = new URL(this.name + request.path)
    let { isPublic } = this
    for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects++) {
      const exchange = await this.ask(url, request, isPublic)
      const { statusCode = 0, headers } = exchange.reply
      const isFollowed = request.follow !== false && [301, 302, 303, 307, 308].includes(statusCode)
      const location = isFollowed ? headers.location : undefined
      if (location === undefined) {
        const reader = new KeptReply(exchange, this.failures, request.patience ?? this.patience, request.signal)
        if ((headers['content-encoding'] ?? 'identity') === 'identity') return reader
        await reader.cancel()
        throw this.failures.failed(`it answers with a compressed body (${headers['content-encoding']}), which was not asked for`)
      }
      // A body that redirects is not read, a request that has one not repeated elsewhere.
      exchange.sent.destroy()
      const to = URL.canParse(location, url.href) ? new URL(location, url) : undefined
      const kind = to && request.body === undefined ? redirectKind(url, to) : 'refused'
      if (kind === 'refused') throw this.failures.failed(`it redirects to ${to?.origin ?? location}, which is not followed`)
      isPublic ||= kind === 'public'
      url = to!
      // Whoever redirects has no say in that.
      url.username = ''
      url.password = ''
    }
    throw this.failures.failed(`it redirects more than ${MOST_REDIRECTS} times`)
  }

  private async ask(url: URL, request: HttpRequest, isPublic: boolean): Promise<Exchange> {
    const { method = 'GET', headers, body, signal, patience = this.patience } = request
    throwIfAborted(signal, `ask ${this.name}`)
    const isOwn = url.origin === this.base.origin
    const sent = (url.protocol === 'https:' ? https : http).request(url, {
      method,
      // Connections to others, which may have a name for each block, are not kept.
      agent: isOwn ? this.agent : false,
      lookup: isPublic ? publicLookup : plainLookup,
      headers: {
        'user-agent': 'module-assets',
        'accept-encoding': 'identity',
        ...headers,
        ...(this.authorization && isOwn && { authorization: this.authorization }),
      },
    })
    // After an answer errors are told of there.
    sent.on('error', () => undefined)
    const watch = this.failures.watch(sent, patience)
    const unbind = boundTo(signal, sent)
    try {
      const answered = once(sent, 'response') as Promise<[IncomingMessage]>
      if (!body) sent.end()
      watch.wait()
      const [reply] = await (body ? Promise.race([answered, send(sent, body, watch)]) : answered)
      return { sent, reply }
    } catch (error) {
      sent.destroy()
      // The other side may end a kept connection at the moment when it is used again.
      if (sent.reusedSocket && !body && systemCode(error) === 'ECONNRESET') return await this.ask(url, request, isPublic)
      throw this.failures.failure(error, signal)
    } finally {
      unbind()
      watch.end()
    }
  }

  /** Ends the connections that are kept. */
  async close(): Promise<void> {
    this.agent.destroy()
  }
}

/** Sends a body, no faster than it is taken in, until there is an answer: that, or an error, is what ends the request. */
async function send(request: ClientRequest, body: AsyncIterable<Uint8Array>, watch: Patience): Promise<never> {
  let isAnswered = false
  request.once('response', () => {
    isAnswered = true
  })
  for await (const piece of body) {
    watch.wait()
    await new Promise<void>((resolve, reject) => request.write(piece, (error) => (error ? reject(error) : resolve())))
    watch.progress(piece.byteLength)
    if (isAnswered) break
  }
  if (!isAnswered) request.end()
  watch.wait()
  return new Promise(() => undefined)
}
