import { once, setMaxListeners } from 'node:events'
import http, { type ClientRequest, type IncomingMessage } from 'node:http'
import https from 'node:https'
import { lend } from '../core/buffers.js'
import { AssetError, systemCode, throwIfAborted } from '../core/errors.js'
import { LEAF } from '../core/limits.js'
import { isOwnHost, plainLookup, publicLookup, redirectKind } from './addresses.js'
import { Patience } from './patience.js'
import { shown } from './shown.js'

const MOST_REDIRECTS = 5
const MOST_CONNECTIONS = 16
const PATIENCE_MS = 60_000
// So much is read to keep a connection, what is more is not worth that.
const MOST_DISCARDED = 64 * 1024

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

/** A reply, of whatever status but a redirect that is followed. Read it or let go of it. */
export interface HttpReply {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  /** it says how long it is, so that what comes is all of it */
  readonly isMeasured: boolean
  /** the body as it comes, so many bytes at most */
  body(limit: number): AsyncGenerator<Uint8Array>
  /** the whole body, so many bytes at most: what it says to be longer is not read */
  bytes(limit: number): Promise<Buffer>
  /** lets go of it; a little that is left is read, so that the connection can be kept */
  cancel(): Promise<void>
}

interface Exchange {
  readonly sent: ClientRequest
  readonly reply: IncomingMessage
}

/** The part of `target` that the pieces fill. */
async function filled(target: Uint8Array<ArrayBuffer>, pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  let at = 0
  for await (const piece of pieces) {
    target.set(piece, at)
    at += piece.byteLength
  }
  return Buffer.from(target.buffer, target.byteOffset, at)
}

function decoded(part: string, address: string): string {
  try {
    return decodeURIComponent(part)
  } catch (cause) {
    const why = 'its name or password is not percent-encoded as it has to be'
    throw new AssetError('BAD_USAGE', `Cannot use the address ${JSON.stringify(shown(address))}: ${why}`, { cause })
  }
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
  private readonly agent: http.Agent

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
    this.agent = new (url.protocol === 'https:' ? https : http).Agent({ keepAlive: true, maxSockets: MOST_CONNECTIONS })
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
        const reader = this.reader(exchange, request)
        if ((headers['content-encoding'] ?? 'identity') === 'identity') return reader
        await reader.cancel()
        throw this.failed(`it answers with a compressed body (${headers['content-encoding']}), which was not asked for`)
      }
      // A body that redirects is not read, a request that has one not repeated elsewhere.
      exchange.sent.destroy()
      const to = URL.canParse(location, url.href) ? new URL(location, url) : undefined
      const kind = to && request.body === undefined ? redirectKind(url, to) : 'refused'
      if (kind === 'refused') throw this.failed(`it redirects to ${to?.origin ?? location}, which is not followed`)
      isPublic ||= kind === 'public'
      url = to!
      // Whoever redirects has no say in that.
      url.username = ''
      url.password = ''
    }
    throw this.failed(`it redirects more than ${MOST_REDIRECTS} times`)
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
    const watch = this.watch(sent, patience)
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
      throw this.failure(error, signal)
    } finally {
      unbind()
      watch.end()
    }
  }

  private reader(exchange: Exchange, { signal, patience = this.patience }: HttpRequest): HttpReply {
    const { sent, reply } = exchange
    const body = (limit: number) => this.read(exchange, limit, patience, signal)
    const announced = Number(reply.headers['content-length'] ?? Number.NaN)
    const bytes = async (limit: number) => {
      if (announced > limit) {
        sent.destroy()
        throw this.tooLong(limit)
      }
      if (announced <= LEAF) return filled(lend(announced), body(announced))
      const chunks: Uint8Array[] = []
      for await (const chunk of body(limit)) chunks.push(chunk)
      return Buffer.concat(chunks)
    }
    return {
      status: reply.statusCode ?? 0,
      headers: reply.headers,
      isMeasured: announced >= 0,
      body,
      bytes,
      cancel: async () => {
        if (announced <= MOST_DISCARDED) await bytes(MOST_DISCARDED).catch(() => undefined)
        else sent.destroy()
      },
    }
  }

  private async *read({ sent, reply }: Exchange, limit: number, patience: number, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const watch = this.watch(reply, patience)
    const unbind = boundTo(signal, reply)
    const chunks = reply[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>
    let total = 0
    try {
      throwIfAborted(signal, `ask ${this.name}`)
      for (;;) {
        watch.wait()
        const { done, value } = await chunks.next()
        if (done) break
        watch.progress(value.byteLength)
        total += value.byteLength
        if (total > limit) throw this.tooLong(limit)
        yield value
      }
      // Kubo's word for what went wrong after it had answered with 200.
      const brokeOff = reply.trailers['x-stream-error']
      if (brokeOff !== undefined) throw this.failed(`it broke off: ${brokeOff}`)
    } catch (error) {
      throw this.failure(error, signal)
    } finally {
      unbind()
      watch.end()
      // A connection is kept where everything was said and read to its end.
      if (!reply.complete || !sent.writableFinished) sent.destroy()
    }
  }

  private watch(one: ClientRequest | IncomingMessage, patience: number): Patience {
    return new Patience(patience, () => one.destroy(this.failed(`it made no progress for ${patience / 1000} s`)))
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
    this.agent.destroy()
  }
}

/**
 * Ends a request or an answer when the signal fires, until what this gives is called: whoever has the whole answer has given
 * the connection back.
 */
function boundTo(signal: AbortSignal | undefined, one: ClientRequest | IncomingMessage): () => void {
  const onAbort = () => one.destroy(new Error('cancelled'))
  // One signal for many requests at the same time is no leak.
  if (signal) setMaxListeners(0, signal)
  signal?.addEventListener('abort', onAbort, { once: true })
  return () => signal?.removeEventListener('abort', onAbort)
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
