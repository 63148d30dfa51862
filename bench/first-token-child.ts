// One process of the first-token bench: `load STORE CID ENGINE IDS [SOURCE]` loads a model and gives its first token,
// `download URL BYTES` takes so many bytes and leaves. Prints what that took, when it is done with it.
import { get, type IncomingMessage } from 'node:http'
import { loadModel, openStore } from '../src/api/index.js'
import { seconds } from './measure.js'

/** From `loadModel` to the first token. */
export interface FirstToken {
  readonly seconds: number
  readonly loadSeconds: number
  readonly tokenId: number
  /** bytes of leaves that had been fetched by then */
  readonly fetchedBytes: number
}

async function load(path: string, cid: string, engine: 'native' | 'onnx', ids: string, source: string | undefined): Promise<FirstToken> {
  const store = await openStore(path)
  const began = performance.now()
  await using model = await loadModel(cid, { store, engine, sources: source === undefined ? [] : [source] })
  const loaded = performance.now()
  for await (const { tokenId } of model.generate(ids.split(',').map(Number), { maxTokens: 1, ignoreEos: true })) {
    const ended = performance.now()
    const { fetchedBytes } = await model.stats()
    return { seconds: (ended - began) / 1000, loadSeconds: (loaded - began) / 1000, tokenId, fetchedBytes }
  }
  throw new Error('there was no token')
}

async function download(url: string, bytes: number): Promise<void> {
  let left = bytes
  const reply = await new Promise<IncomingMessage>((resolve, reject) => get(url, { agent: false }, resolve).on('error', reject))
  for await (const chunk of reply) {
    left -= (chunk as Uint8Array).byteLength
    if (left <= 0) break
  }
  if (left > 0) throw new Error(`${url} ended ${left} bytes too early`)
}

const [what, ...args] = process.argv.slice(2) as [string, string, string, string, string, string | undefined]
const done =
  what === 'load'
    ? await load(args[0], args[1], args[2] as 'native', args[3], args[4])
    : { seconds: await seconds(() => download(args[0], Number(args[1]))) }
console.log(JSON.stringify(done))
