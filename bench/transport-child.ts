// One transfer of the transport bench, in a process of its own: push STORE CID API, pull STORE CID SOURCE, or download URL FILE.
// Prints its seconds and the most memory that the process had.
import { createWriteStream } from 'node:fs'
import { get } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { openStore, push } from '../src/api/index.js'
import { parseCid } from '../src/core/cid.js'
import { pullAsset } from '../src/transport/pull.js'
import { Retriever } from '../src/transport/retriever.js'
import { sourcesOf } from '../src/transport/sources.js'
import { seconds } from './measure.js'

const [what, ...args] = process.argv.slice(2) as [string, string, string, string]

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
    const reply = await new Promise<import('node:http').IncomingMessage>((resolve, reject) => get(url, resolve).on('error', reject))
    await pipeline(reply, createWriteStream(file, { flush: true }))
  },
}
const taken = await seconds(tasks[what]!)
console.log(JSON.stringify({ seconds: taken, rssMB: process.resourceUsage().maxRSS / 1000 }))
