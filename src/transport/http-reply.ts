import type { ClientRequest, IncomingMessage } from 'node:http'
import { finished } from 'node:stream/promises'
import { lend } from '../core/buffers.js'
import { throwIfAborted } from '../core/errors.js'
import { LEAF } from '../core/limits.js'
import { boundTo, type HttpFailures } from './http-failures.js'

// So much is read to keep a connection, what is more is not worth that.
const MOST_DISCARDED = 64 * 1024

/** A reply, of whatever status but a redirect. Read it or let go of it. */
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

/** A request that is answered. */
export interface Exchange {
  readonly sent: ClientRequest
  readonly reply: IncomingMessage
}

/** A reply whose connection is kept for the next request where all of it was read. */
export class KeptReply implements HttpReply {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  /** bytes that it says to have; NaN where it doesn't */
  private readonly announced: number

  constructor(
    private readonly exchange: Exchange,
    private readonly failures: HttpFailures,
    private readonly patience: number,
    private readonly signal: AbortSignal | undefined,
  ) {
    this.status = exchange.reply.statusCode ?? 0
    this.headers = exchange.reply.headers
    this.announced = Number(this.headers['content-length'] ?? Number.NaN)
  }

  get isMeasured(): boolean {
    return this.announced >= 0
  }

  async *body(limit: number): AsyncGenerator<Uint8Array> {
    const reading = this.begin()
    const chunks = this.exchange.reply[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>
    let total = 0
    try {
      throwIfAborted(this.signal, `ask ${this.failures.name}`)
      for (;;) {
        reading.watch.wait()
        const { done, value } = await chunks.next()
        if (done) break
        reading.watch.progress(value.byteLength)
        total += value.byteLength
        if (total > limit) throw this.failures.tooLong(limit)
        yield value
      }
      this.checkTrailers()
    } catch (error) {
      throw this.failures.failure(error, this.signal)
    } finally {
      reading.end()
    }
  }

  async bytes(limit: number): Promise<Buffer> {
    if (this.announced > limit) {
      this.exchange.sent.destroy()
      throw this.failures.tooLong(limit)
    }
    if (this.announced <= LEAF) return this.fill(lend(this.announced))
    const chunks: Uint8Array[] = []
    for await (const chunk of this.body(limit)) chunks.push(chunk)
    return Buffer.concat(chunks)
  }

  /** The part of `target` that the body fills. Pieces are copied as they come: an iterator's promises cost as much as the copies. */
  private async fill(target: Uint8Array<ArrayBuffer>): Promise<Buffer> {
    const { reply } = this.exchange
    const { watch, end } = this.begin()
    let at = 0
    try {
      throwIfAborted(this.signal, `ask ${this.failures.name}`)
      watch.wait()
      reply.on('data', (piece: Uint8Array) => {
        watch.progress(piece.byteLength)
        // The parser ends a body where it was said to end.
        target.set(piece, at)
        at += piece.byteLength
        watch.wait()
      })
      await finished(reply)
      this.checkTrailers()
      return Buffer.from(target.buffer, target.byteOffset, at)
    } catch (error) {
      throw this.failures.failure(error, this.signal)
    } finally {
      end()
    }
  }

  /** Watches the body while it is read; to be ended, whatever comes of it. */
  private begin() {
    const { sent, reply } = this.exchange
    const watch = this.failures.watch(reply, this.patience)
    const unbind = boundTo(this.signal, reply)
    const end = () => {
      unbind()
      watch.end()
      // A connection is kept where everything was said and read to its end.
      if (!reply.complete || !sent.writableFinished) sent.destroy()
    }
    return { watch, end }
  }

  /** Kubo's word for what went wrong after it had answered with 200. */
  private checkTrailers(): void {
    const brokeOff = this.exchange.reply.trailers['x-stream-error']
    if (brokeOff !== undefined) throw this.failures.failed(`it broke off: ${brokeOff}`)
  }

  async cancel(): Promise<void> {
    if (this.announced <= MOST_DISCARDED) await this.bytes(MOST_DISCARDED).catch(() => undefined)
    else this.exchange.sent.destroy()
  }
}
