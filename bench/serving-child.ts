// What the serving bench measures, each in a process of its own, told by its first argument. Servers print their address, answer `rss`
// with the most memory that they had, in MB, and end with their standard input.
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { createServer, get, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout } from 'node:timers/promises'
import { openStore } from '../src/api/index.js'
import { startGateway } from '../src/server/gateway/server.js'

const [what, argument, count] = process.argv.slice(2) as [string, string, string]

const tasks: Record<string, () => Promise<string>> = {
  /** `masset gateway` of a store */
  async gateway() {
    const { address } = await startGateway(await openStore(argument), { host: '127.0.0.1', port: 0 })
    return address
  },
  /** a plain server of one file */
  async plain() {
    const { size } = await stat(argument)
    const server = createServer((_, reply) => {
      reply.writeHead(200, { 'content-length': size })
      createReadStream(argument, { highWaterMark: 1024 * 1024 }).pipe(reply)
    })
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  },
  /** clients that take 4 MB/s each, for five seconds */
  async slow() {
    const client = async () => {
      const reply = await new Promise<IncomingMessage>((resolve, reject) => get(argument, resolve).on('error', reject))
      const until = performance.now() + 5000
      let left = 0
      for await (const chunk of reply as AsyncIterable<Buffer>) {
        left += chunk.byteLength
        if (left > 400_000) {
          left = 0
          await setTimeout(100)
        }
        if (performance.now() > until) break
      }
    }
    await Promise.all(Array.from({ length: Number(count) }, client))
    return ''
  },
}
console.log(await tasks[what]!())
if (what !== 'slow')
  createInterface(process.stdin)
    .on('line', () => console.log(process.resourceUsage().maxRSS / 1000))
    .on('close', () => process.exit())
