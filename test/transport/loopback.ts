import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What becomes of a request for a block. */
export type Fate = 'serve' | 'cut' | 'wrong' | 'missing'

/** A trustless gateway on loopback over blocks in memory, whose faults a test chooses. */
export interface Loopback {
  readonly source: string
  /** CIDs of blocks that went out whole and right, in order */
  readonly served: string[]
  /** asked before each answer; may take its time */
  fate: (cid: string, index: number) => Fate | Promise<Fate>
  stop(): Promise<void>
}

export async function startLoopback(all: ReadonlyMap<string, Uint8Array>): Promise<Loopback> {
  const served: string[] = []
  let asked = 0
  const server = createServer(async (request, response) => {
    const cid = /^\/ipfs\/([a-z0-9]+)\?format=raw$/.exec(request.url ?? '')?.[1] ?? ''
    const bytes = all.get(cid)
    const fate = await loopback.fate(cid, asked++)
    if (response.destroyed) return
    if (fate === 'cut') {
      response.writeHead(200, { 'content-type': 'application/vnd.ipld.raw', 'content-length': bytes?.byteLength ?? 1 })
      response.write(bytes?.subarray(0, bytes.byteLength / 2) ?? '')
      setImmediate(() => response.destroy())
      return
    }
    if (!bytes || fate === 'missing') {
      response.writeHead(404).end()
      return
    }
    const body = fate === 'wrong' ? bytes.map((byte, at) => (at === 0 ? byte ^ 1 : byte)) : bytes
    response.writeHead(200, { 'content-type': 'application/vnd.ipld.raw', 'content-length': body.byteLength }).end(body)
    if (fate === 'serve') served.push(cid)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const loopback: Loopback = {
    source: `gateway:http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    served,
    fate: () => 'serve',
    async stop() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
  return loopback
}
