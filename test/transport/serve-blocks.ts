import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout } from 'node:timers/promises'

/** A gateway on loopback that has these blocks, and the CIDs of those that it gave. */
export interface ServedBlocks extends AsyncDisposable {
  /** `gateway:http://127.0.0.1:PORT` */
  readonly source: string
  readonly given: string[]
  /** milliseconds that each reply takes from now on */
  delay: number
}

/** Starts it; it ends with the test: `await using gateway = await serveBlocks(all)`. */
export async function serveBlocks(all: ReadonlyMap<string, Uint8Array>): Promise<ServedBlocks> {
  const server = createServer(async (request, response) => {
    const key = /^\/ipfs\/([^?/]+)/.exec(request.url!)?.[1] ?? ''
    const bytes = all.get(key)
    await setTimeout(served.delay)
    if (!bytes) return void response.writeHead(404).end()
    served.given.push(key)
    response.writeHead(200, { 'content-type': 'application/vnd.ipld.raw' }).end(bytes)
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const served: ServedBlocks = {
    source: `gateway:http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    given: [],
    delay: 0,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((closed) => server.close(closed))
    },
  }
  return served
}
