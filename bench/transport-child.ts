// One transfer of the transport bench, in a process of its own: push STORE CID API, pull STORE CID SOURCE,
// download URL FILE, or discard URL.
// Prints its seconds and the most memory that the process had.
import assert from 'node:assert/strict'
import { createWriteStream } from 'node:fs'
import { get, type IncomingMessage } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { openStore, push } from '../src/api/index.js'
import { parseCid } from '../src/core/cid.js'
import { pullAsset } from '../src/transport/pull.js'
import { Retriever } from '../src/transport/retriever.js'
import { sourcesOf } from '../src/transport/sources.js'
import { seconds } from './measure.js'

const [what, ...args] = process.argv.slice(2) as [string, string, string, string]

const replyOf = (url: string) =>
  new Promise<IncomingMessage>((resolve, reject) => {
    get(url, resolve).on('error', reject)
  })

const tasks: Record<string, () => Promise<unknown>> = {
  async push() {
    const [path, cid, to] = args
    return push(cid, { store: await openStore(path), to })
  },
  async pull() {
    const [path, cid, source] = args
    const retriever = new Retriever(sourcesOf([source!]))
    const store = await openStore(path)
    await pullAsset(parseCid(cid), { store, blocks: (wanted, options) => retriever.block(wanted, options) })
    await retriever.close()
  },
  async download() {
    const [url, file] = args
    await pipeline(await replyOf(url), createWriteStream(file, { flush: true }))
  },
  async discard() {
    for await (const chunk of await replyOf(args[0])) assert(chunk.byteLength > 0)
  },
}
const taken = await seconds(tasks[what]!)
console.log(JSON.stringify({ seconds: taken, rssMB: process.resourceUsage().maxRSS / 1000 }))
