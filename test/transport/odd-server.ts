import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net'

/** A web server on loopback that does whatever it is told, and what it was asked. */
export interface OddServer extends AsyncDisposable {
  readonly port: number
  /** `http://127.0.0.1:PORT` */
  readonly url: string
  /** the requests so far */
  readonly asked: { readonly method: string; readonly path: string; readonly headers: IncomingMessage['headers'] }[]
  /** bytes that it sent, heads among them, on connections that are closed or open */
  sent(): number
}

async function listening(server: Server, sockets: Set<Socket>): Promise<number> {
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    // Whoever hangs up on a server that is sending is no news.
    socket.on('error', () => undefined)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

async function ended(server: Server, sockets: Set<Socket>): Promise<void> {
  server.close()
  for (const socket of sockets) socket.destroy()
  await once(server, 'close')
}

const sum = (sockets: Set<Socket>) => [...sockets].reduce((total, { bytesWritten }) => total + bytesWritten, 0)

/** Starts a web server. Its handler may do as it likes with the response. */
export async function oddServer(handle: (request: IncomingMessage, response: ServerResponse) => unknown): Promise<OddServer> {
  const asked: OddServer['asked'] = []
  const sockets = new Set<Socket>()
  const server = createServer((request, response) => {
    asked.push({ method: request.method!, path: request.url!, headers: request.headers })
    handle(request, response)
  })
  const port = await listening(server, sockets)
  return { port, url: `http://127.0.0.1:${port}`, asked, sent: () => sum(sockets), [Symbol.asyncDispose]: () => ended(server, sockets) }
}

/** Starts what is no web server: it answers the first bytes of each connection as it is told. */
export async function rawServer(answer: (socket: Socket) => unknown): Promise<Omit<OddServer, 'asked'>> {
  const sockets = new Set<Socket>()
  const server = createTcpServer((socket) => socket.once('data', () => answer(socket)))
  const port = await listening(server, sockets)
  return { port, url: `http://127.0.0.1:${port}`, sent: () => sum(sockets), [Symbol.asyncDispose]: () => ended(server, sockets) }
}

/** Sends until nobody takes it, so much at most. */
export function flood(response: ServerResponse | Socket, most = 2 ** 30): void {
  const chunk = Buffer.alloc(65536)
  let left = most
  const more = () => {
    while (left > 0 && !response.destroyed) {
      left -= chunk.byteLength
      if (!response.write(chunk)) return
    }
    response.end()
  }
  response.on('drain', more)
  more()
}
