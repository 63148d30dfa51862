// One process of the moe bench, asked `decode N`: draws tokens within a budget. Arguments: store, CID, bytes, threads, bytes of
// a row of the embedding.
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { loadModel, openStore } from '../src/api/index.js'
import { median } from './measure.js'

/** Some tokens, one after the other; bytes of each on the average. */
export interface Drawn {
  readonly engine: string
  readonly secondsPerToken: number
  /** of the weights of the experts that tokens were sent to, and of those of them that had to be read */
  readonly expertBytesPerToken: number
  readonly expertBytesReadPerToken: number
  /** all weights that were read, and what came from the disk for this process */
  readonly bytesReadPerToken: number
  readonly diskBytesPerToken: number
  readonly waitShare: number
}

const [path, cid, memory, threads, rowBytes] = process.argv.slice(2) as [string, string, string, string, string]
const PROMPT = [11, 401, 73]
const store = await openStore(path)
await using model = await loadModel(cid, { store, memory: Number(memory), threads: Number(threads) })
let seed = 0

const readBytes = () => Number(/^read_bytes: (\d+)$/m.exec(readFileSync('/proc/self/io', 'latin1'))?.[1])

async function decode(count: number): Promise<Drawn> {
  const times: number[] = []
  const [before, diskBefore, began] = [await model.stats(), readBytes(), performance.now()]
  let last = began
  for await (const _ of model.generate(PROMPT, { maxTokens: 1 + count, ignoreEos: true, temperature: 1, seed: seed++ })) {
    times.push((performance.now() - last) / 1000)
    last = performance.now()
  }
  const [after, disk, elapsed] = [await model.stats(), readBytes() - diskBefore, performance.now() - began]
  const passes = after.passes - before.passes
  const of = (pick: (stats: typeof after) => number) => pick(after) - pick(before)
  const [read, expertsRead] = [of((stats) => stats.bytesRead), of((stats) => stats.expertBytesRead)]
  // Every byte that was read is of an expert that was not in memory, of a weight that streams, or of a row of the embedding.
  const others = after.streamedBytesPerPass * passes + Number(rowBytes) * (PROMPT.length + passes - 1)
  if (read !== expertsRead + others)
    throw new Error(`${read} bytes were read, but ${expertsRead} of experts and ${others} of others should have been`)
  return {
    engine: after.engine,
    // the first also computes the prompt
    secondsPerToken: median(times.slice(1)),
    expertBytesPerToken: of((stats) => stats.expertBytes) / passes,
    expertBytesReadPerToken: expertsRead / passes,
    bytesReadPerToken: read / passes,
    diskBytesPerToken: disk / passes,
    waitShare: of((stats) => stats.waitMs) / elapsed,
  }
}

for await (const line of createInterface(process.stdin)) {
  const [what, count] = line.split(' ')
  if (what === 'decode') console.log(JSON.stringify(await decode(Number(count))))
}
