import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { AssetError, ioError, systemCode } from '../../core/errors.js'
import type { Store } from '../../store/store.js'
import { StoredBlocks } from '../../store/stored-blocks.js'
import { ClientGone } from './deliver.js'
import { guard, isLoopback } from './guard.js'
import { Refusal } from './refusal.js'
import { respond } from './respond.js'
import { Slots } from './slots.js'
import { Turns } from './turns.js'

/** What may be asked of a gateway at once: two blocks of memory for each reply, and little for each connection. */
const LIMITS = {
  replies: 64,
  /** to one address, so that nobody takes all of them */
  repliesToOne: 48,
  /** of one connection, one after the other; more than so many are no honest client's */
  waitingOfOne: 16,
  connections: 1024,
  headerBytes: 16 * 1024,
  /** until the head of a request has arrived; all of it, in the second */
  headMs: 10_000,
  requestMs: 30_000,
  /** without a byte either way */
  silenceMs: 60_000,
  /** between two requests */
  idleMs: 5_000,
  /** for replies under way when it is closed */
  graceMs: 10_000,
} as const

/** Where a gateway listens, and whom it tells what went wrong. */
export interface GatewayOptions {
  readonly host: string
  /** 0 for any that is free */
  readonly port: number
  /** told, on one line, of what is damaged in the store and of what should not happen */
  readonly onProblem?: (line: string) => void
}

/** A gateway that is listening. */
export interface Gateway extends AsyncDisposable {
  /** `http://HOST:PORT` */
  readonly address: string
  /** true where only this machine reaches it */
  readonly isLocal: boolean
  /** Takes no more requests; those under way have ten seconds to end. */
  close(): Promise<void>
}

/**
 * Serves the blocks of a store, one by one or as CARs, as a trustless IPFS gateway; read-only, and never by asking others.
 * Source: https://specs.ipfs.tech/http-gateways/trustless-gateway/
 * @throws AssetError 'IO' where it can't listen there
 */
export async function startGateway(store: Store, { host, port, onProblem }: GatewayOptions): Promise<Gateway> {
  const stored = new StoredBlocks(store)
  const slots = new Slots(LIMITS.replies, LIMITS.repliesToOne)
  const turns = new Turns(LIMITS.waitingOfOne)
  const isLocal = isLoopback(host)
  let isClosing = false
  const underWay = new Set<Promise<void>>()
  const answer = async (message: IncomingMessage, reply: ServerResponse) => {
    try {
      if (isClosing) reply.setHeader('Connection', 'close')
      guard(message, isLocal)
      const { socket } = message
      await turns.run(socket, () => slots.run(socket.remoteAddress ?? '', () => respond(message, reply, stored)))
    } catch (error) {
      if (!(error instanceof Refusal || error instanceof ClientGone)) onProblem?.(error instanceof Error ? error.message : String(error))
      fail(message, reply, error)
    }
  }
  const server = createServer(
    {
      maxHeaderSize: LIMITS.headerBytes,
      headersTimeout: LIMITS.headMs,
      requestTimeout: LIMITS.requestMs,
      keepAliveTimeout: LIMITS.idleMs,
      // how often it looks at the first two
      connectionsCheckingInterval: 1_000,
    },
    (message, reply) => {
      const answered = answer(message, reply).finally(() => underWay.delete(answered))
      underWay.add(answered)
    },
  )
  server.maxConnections = LIMITS.connections
  server.setTimeout(LIMITS.silenceMs)
  server.listen(port, host)
  await once(server, 'listening').catch((error: unknown) => {
    throw cannotListen(host, port, error)
  })
  const { address, family, port: taken } = server.address() as AddressInfo
  const close = async () => {
    if (isClosing) return
    isClosing = true
    const closed = once(server, 'close')
    server.close()
    void Promise.all(underWay).then(() => server.closeIdleConnections())
    const timer = setTimeout(() => server.closeAllConnections(), LIMITS.graceMs)
    await closed
    clearTimeout(timer)
    // A client may be gone before its reply knows.
    await Promise.all(underWay)
    await stored.close()
  }
  return {
    address: `http://${family === 'IPv6' ? `[${address}]` : address}:${taken}`,
    isLocal,
    close,
    [Symbol.asyncDispose]: close,
  }
}

/** Says what is wrong where nothing was sent yet; else the connection is cut, so that nobody takes the part for the whole. */
function fail(message: IncomingMessage, reply: ServerResponse, error: unknown): void {
  if (reply.headersSent || reply.destroyed) {
    reply.destroy()
    return
  }
  for (const name of reply.getHeaderNames()) if (name !== 'connection') reply.removeHeader(name)
  const [status, text] = error instanceof Refusal ? [error.status, error.message] : [500, textOf(error)]
  const headers = error instanceof Refusal ? error.headers : {}
  // What is in the way of a request that was not read to its end is not read.
  const ending = status === 405 || status === 413 ? { Connection: 'close' } : {}
  const body = `${text}\n`
  reply.writeHead(status, {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': Buffer.byteLength(body),
    'X-Content-Type-Options': 'nosniff',
    'Cache-Control': 'no-store',
    ...headers,
    ...ending,
  })
  reply.end(message.method === 'HEAD' ? undefined : body)
}

/** What is wrong with the store is its owner's business: paths of this machine are not told. */
function textOf(error: unknown): string {
  return error instanceof AssetError && error.code === 'CORRUPT'
    ? 'Cannot send this: it is damaged in this store; get it elsewhere'
    : 'Cannot send this: the store failed; try again later or get it elsewhere'
}

function cannotListen(host: string, port: number, error: unknown): AssetError {
  const known: Record<string, string> = {
    EADDRINUSE: 'another program listens there; give another --port',
    EADDRNOTAVAIL: 'this machine has no such address; give another --host',
    EACCES: 'permission denied; give a --port from 1024 on',
    ENOTFOUND: 'there is no such host; give another --host',
  }
  const why = known[systemCode(error) ?? '']
  return why
    ? new AssetError('IO', `Cannot listen on ${host}:${port}: ${why}`, { cause: error })
    : ioError(`listen on ${host}:${port}`, error)
}
