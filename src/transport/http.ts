import { once } from 'node:events'
import http, { type ClientRequest, type IncomingMessage } from 'node:http'
import https from 'node:https'
import { AssetError, systemCode, throwIfAborted } from '../core/errors.js'
import { plainLookup, publicLookup, redirectKind } from './addresses.js'

const MOST_REDIRECTS = 5
const MOST_CONNECTIONS = 16
const PATIENCE_MS = 60_000
// Whoever is slower than that for as long as we are patient is as good as gone; bytes per second.
const SLOWEST = 1024

/** What is asked for. */
export interface HttpRequest {
  /** below the address of the origin: `/ipfs/CID?format=raw` */
  readonly path: string
  readonly method?: 'GET' | 'HEAD' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: AsyncIterable<Uint8Array> | undefined
  readonly signal?: AbortSignal | undefined
  /** milliseconds without progress that are borne, where it is not as usual */
  readonly patience?: number
}

/** A reply, of whatever status but a redirect. Read it or let go of it. */
export interface HttpReply {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  /** the body as it comes, so many bytes at most */
  body(limit: number): AsyncGenerator<Uint8Array>
  /** the whole body, so many bytes at most: what it says to be longer is not read */
  bytes(limit: number): Promise<Uint8Array<ArrayBuffer>>
  /** lets go of it: what was not read is not read */
  cancel(): void
}

/** Why a request failed, in the words of {@link AssetError}: without what failed. */
function why(error: unknown): string {
  const known: Record<string, string> = {
    ECONNREFUSED: 'nothing answers there (connection refused)',
    ENOTFOUND: 'there is no such host',
    EAI_AGAIN: 'the host could not be looked up',
    ECONNRESET: 'the connection was cut',
    EPIPE: 'the connection was cut',
    ETIMEDOUT: 'nothing answers there',
    EHOSTUNREACH: 'the host can not be reached',
    ENETUNREACH: 'the network can not be reached',
  }
  return known[systemCode(error) ?? ''] ?? (error instanceof Error ? error.message : String(error))
}

/** A web server that is asked for much: connections are kept, replies watched and bounded, credentials never given to another. */
export class HttpOrigin {
  /** its address without credentials, for messages */
  readonly name: string
  private readonly base: URL
  private readonly authorization: string | undefined
  private readonly agents: Record<string, http.Agent>

  /**
   * @param address `http://HOST:PORT/PREFIX`, with `USER:PASSWORD@` where it asks for that
   * @throws AssetError 'BAD_USAGE' for what is no address of a web server
   */
  constructor(
    address: string,
    private readonly patience: number = PATIENCE_MS,
  ) {
    const url = URL.canParse(address) ? new URL(address) : undefined
    if (!url || !/^https?:$/.test(url.protocol) || url.search || url.hash) {
      const shown = address.replace(/\/\/.*@/, '//')
      throw new AssetError('BAD_USAGE', `Cannot use the address ${JSON.stringify(shown)}: give one such as http://127.0.0.1:5001`)
    }
    const login = [url.username, url.password].map(decodeURIComponent)
    if (url.username || url.password) this.authorization = `Basic ${Buffer.from(login.join(':')).toString('base64')}`
    url.username = ''
    url.password = ''
    this.base = url
    this.name = url.href.replace(/\/$/, '')
    const options = { keepAlive: true, maxSockets: MOST_CONNECTIONS }
    this.agents = { 'http:': new http.Agent(options), 'https:': new https.Agent(options) }
  }

  /**
   * Asks, and follows where the reply sends on to.
   * @throws AssetError 'IO' where there is no reply, a redirect that is not to be followed, or a compressed body; 'ABORTED'
   */
  async request(request: HttpRequest): Promise<HttpReply> {
    let url = new URL(this.name + request.path)
    let isPublic = false
    for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects++) {
      const reply = await this.ask(url, request, isPublic)
      const { statusCode = 0, headers } = reply
      const location = [301, 302, 303, 307, 308].includes(statusCode) ? headers.location : undefined
      if (location === undefined) {
        const reader = this.reader(reply, request)
        if ((headers['content-encoding'] ?? 'identity') === 'identity') return reader
        reader.cancel()
        throw this.failed(`it answers with a compressed body (${headers['content-encoding']}), which was not asked for`)
      }
      // A body that redirects is not read, a request that has one not repeated elsewhere.
      reply.destroy()
      const to = URL.canParse(location, url.href) ? new URL(location, url) : undefined
      const kind = to && request.body === undefined ? redirectKind(url, to) : 'refused'
      if (kind === 'refused') throw this.failed(`it redirects to ${to?.origin ?? location}, which is not followed`)
      isPublic ||= kind === 'public'
      url = to!
    }
    throw this.failed(`it redirects more than ${MOST_REDIRECTS} times`)
  }

  private async ask(url: URL, request: HttpRequest, isPublic: boolean): Promise<IncomingMessage> {
    const { method = 'GET', headers, body, signal } = request
    throwIfAborted(signal, `ask ${this.name}`)
    const sent = (url.protocol === 'https:' ? https : http).request(url, {
      method,
      agent: this.agents[url.protocol]!,
      lookup: isPublic ? publicLookup : plainLookup,
      headers: {
        'user-agent': 'module-assets',
        'accept-encoding': 'identity',
        ...headers,
        ...(this.authorization && url.origin === this.base.origin && { authorization: this.authorization }),
      },
      ...(signal && { signal }),
    })
    const patience = request.patience ?? this.patience
    const timer = setTimeout(() => sent.destroy(this.failed(`it was silent for ${patience / 1000} s`)), patience)
    try {
      const answered = once(sent, 'response') as Promise<[IncomingMessage]>
      if (body) await Promise.race([answered, send(sent, body, () => timer.refresh())])
      else sent.end()
      const [reply] = await answered
      return reply
    } catch (error) {
      sent.destroy()
      // The other side may end a connection at the moment when it is used again.
      if (sent.reusedSocket && !body && systemCode(error) === 'ECONNRESET') return await this.ask(url, request, isPublic)
      throw this.failure(error, signal)
    } finally {
      clearTimeout(timer)
    }
  }

  private reader(reply: IncomingMessage, { signal, patience = this.patience }: HttpRequest): HttpReply {
    const body = (limit: number) => this.read(reply, limit, patience, signal)
    const announced = Number(reply.headers['content-length'] ?? Number.NaN)
    return {
      status: reply.statusCode ?? 0,
      headers: reply.headers,
      body,
      bytes: async (limit) => {
        const chunks: Uint8Array[] = []
        if (announced > limit) {
          reply.destroy()
          throw this.tooLong(limit)
        }
        for await (const chunk of body(limit)) chunks.push(chunk)
        return new Uint8Array(Buffer.concat(chunks))
      },
      cancel: () => reply.destroy(),
    }
  }

  /** Time counts while we wait for the server, not while it waits for us. */
  private async *read(reply: IncomingMessage, limit: number, patience: number, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    let [isWaiting, waited, came, total] = [true, 0, 0, 0]
    const tooSlow = () => this.failed(`it sent less than ${SLOWEST} bytes a second for ${patience / 1000} s`)
    const timer = setTimeout(() => isWaiting && reply.destroy(tooSlow()), patience)
    const chunks = reply[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>
    try {
      for (;;) {
        const began = performance.now()
        isWaiting = true
        timer.refresh()
        const { done, value } = await chunks.next()
        isWaiting = false
        if (done) break
        waited += performance.now() - began
        came += value.byteLength
        total += value.byteLength
        if (total > limit) throw this.tooLong(limit)
        if (waited > patience) {
          if (came < (SLOWEST * waited) / 1000) throw tooSlow()
          waited = 0
          came = 0
        }
        yield value
      }
      const [streamError] = [reply.trailers['x-stream-error']].flat()
      if (streamError !== undefined) throw this.failed(`it broke off: ${streamError}`)
    } catch (error) {
      throw this.failure(error, signal)
    } finally {
      clearTimeout(timer)
      // Without effect where it was read to its end: the connection is kept then.
      if (!reply.complete) reply.destroy()
    }
  }

  private failure(error: unknown, signal: AbortSignal | undefined): AssetError {
    if (signal?.aborted) return new AssetError('ABORTED', `Cannot finish to ask ${this.name}: it was cancelled`, { cause: signal.reason })
    return error instanceof AssetError ? error : this.failed(why(error), error)
  }

  private failed(reason: string, cause?: unknown): AssetError {
    return new AssetError('IO', `Cannot get an answer of ${this.name}: ${reason}`, { cause })
  }

  private tooLong(limit: number): AssetError {
    return new AssetError('LIMIT', `Cannot take the answer of ${this.name}: it has more than ${limit} bytes`)
  }

  /** Ends the connections that are kept. */
  async close(): Promise<void> {
    for (const agent of Object.values(this.agents)) agent.destroy()
  }
}

/** Sends a body no faster than it is taken in. */
async function send(request: ClientRequest, body: AsyncIterable<Uint8Array>, onProgress: () => void): Promise<never> {
  for await (const chunk of body) {
    if (!request.write(chunk)) await once(request, 'drain')
    onProgress()
  }
  request.end()
  // The answer is what ends the race.
  return new Promise(() => undefined)
}
