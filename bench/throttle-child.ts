// A way to a server on loopback that lets through only so many bytes a second, towards the client, over all connections together.
// Arguments: its port, bytes a second. Each line that comes in is answered with { url, bytes }: where it is, what went through so far.
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout } from 'node:timers/promises'

// What was not used may be caught up with so much later: as long as a timer may be late.
const CREDIT_MS = 10

const [port, rate] = process.argv.slice(2).map(Number) as [number, number]
let bytes = 0
/** when all that was let through would have gone at that rate, in milliseconds */
let due = 0

async function turn(count: number): Promise<void> {
  const now = performance.now()
  due = Math.max(due, now - CREDIT_MS) + (count / rate) * 1000
  if (due > now) await setTimeout(due - now)
}

async function pass(from: Socket, to: Socket): Promise<void> {
  for await (const chunk of from as AsyncIterable<Uint8Array>) {
    await turn(chunk.byteLength)
    bytes += chunk.byteLength
    if (!to.write(chunk)) await once(to, 'drain')
  }
  to.end()
}

const server = createServer({ noDelay: true }, (client) => {
  const there = connect({ port, host: '127.0.0.1', noDelay: true })
  for (const [one, other] of [
    [client, there],
    [there, client],
  ] as const) {
    one.on('error', () => undefined)
    one.on('close', () => other.destroy())
  }
  client.pipe(there)
  pass(there, client).catch(() => client.destroy())
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
for await (const _ of createInterface(process.stdin)) console.log(JSON.stringify({ url, bytes }))
process.exit()
