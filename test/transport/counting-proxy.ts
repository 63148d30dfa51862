import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A way to a server on loopback that tells when so many bytes have gone there. */
export interface CountingProxy extends AsyncDisposable {
  readonly url: string
  /** Calls `then`, once, when so many more bytes have been sent to the server. */
  after(bytes: number, then: () => void): void
  /** Cuts every connection. */
  cut(): void
}

/** Starts one in front of `http://127.0.0.1:PORT`. */
export async function countingProxy(target: string): Promise<CountingProxy> {
  const port = Number(new URL(target).port)
  const sockets = new Set<Socket>()
  let left = Number.POSITIVE_INFINITY
  let then = () => undefined as unknown
  const server = createServer((client) => {
    const there = connect(port, '127.0.0.1')
    for (const [one, other] of [
      [client, there],
      [there, client],
    ] as const) {
      sockets.add(one)
      one.on('error', () => undefined)
      one.on('close', () => {
        sockets.delete(one)
        other.destroy()
      })
      one.pipe(other)
    }
    client.on('data', (bytes) => {
      const before = left
      left -= bytes.byteLength
      if (before > 0 && left <= 0) then()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    after(bytes, call) {
      left = bytes
      then = call
    },
    cut,
    async [Symbol.asyncDispose]() {
      server.close()
      cut()
      await once(server, 'close')
    },
  }
}
