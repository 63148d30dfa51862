import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A web server on loopback for a test, and what it was asked for, as `HOST URL`. */
export interface TestServer extends AsyncDisposable {
  readonly port: number
  readonly address: string
  readonly asked: string[]
}

export async function serveHttp(answer: (request: IncomingMessage, reply: ServerResponse) => void): Promise<TestServer> {
  const asked: string[] = []
  const server = createServer((request, reply) => {
    asked.push(`${request.headers.host} ${request.url}`)
    answer(request, reply)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    port,
    address: `http://127.0.0.1:${port}`,
    asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** base32 of RFC 4648 in small letters and without padding, as a gateway names the host of a transaction. */
export function base32(bytes: Uint8Array): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  return (bits.match(/.{1,5}/g) ?? []).map((five) => 'abcdefghijklmnopqrstuvwxyz234567'[Number.parseInt(five.padEnd(5, '0'), 2)]).join('')
}

/**
 * An Arweave gateway as ar.io's: `/TX` is sent on to the host of its own that the transaction has, below the gateway's; what is
 * not mined yet is 202 "Pending", what is not known 404. Ranges are served.
 */
export function serveArweave(data: ReadonlyMap<string, Uint8Array>, pending: string): Promise<TestServer> {
  return serveHttp((request, reply) => {
    const [, tx = '', path = ''] = /^\/([\w-]{43})(\/.*)?$/.exec(request.url ?? '') ?? []
    const host = `${base32(Buffer.from(tx, 'base64url'))}.localhost`
    const [name, port] = (request.headers.host ?? '').split(':')
    const bytes = data.get(tx + path)
    if (tx === '') reply.writeHead(404, { 'content-type': 'text/plain' }).end('Not Found')
    else if (name !== host) reply.writeHead(302, { location: `http://${host}:${port}${request.url}` }).end('Found')
    else if (tx === pending) reply.writeHead(202, { 'content-type': 'text/html' }).end('Pending')
    else if (!bytes) reply.writeHead(404, { 'content-type': 'text/html' }).end('<html>Not Found</html>')
    else
      reply
        .writeHead(200, { 'content-type': 'application/vnd.ipld.car', 'accept-ranges': 'bytes', 'content-length': bytes.byteLength })
        .end(bytes)
  })
}

/** A node of Ceramic: the state of a stream as JSON; errors as JSON too. */
export function serveCeramic(streams: ReadonlyMap<string, object>): Promise<TestServer> {
  return serveHttp((request, reply) => {
    const [, id = ''] = /^\/api\/v0\/streams\/(\w+)$/.exec(request.url ?? '') ?? []
    const content = streams.get(id)
    const json = (status: number, value: unknown) =>
      reply.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(value))
    if (id === '') json(404, { error: 'Not found' })
    else if (!content) json(500, { error: `Can not verify signature for stream ${id}` })
    else
      json(200, {
        streamId: id,
        state: {
          type: 0,
          metadata: { schema: null, controllers: ['did:key:z6MkfZ6S4NVVTEuts8o5xFzRMR8eC6Y1bngoBQNnXiCvhH8H'] },
          signature: 2,
          anchorStatus: 'PENDING',
          log: [{ cid: 'bagcqceramof2xi7kh6qblirzkbc7yulcjcticlcob6uvdrx3bexgks37ilva', type: 0 }],
          ...content,
        },
      })
  })
}
