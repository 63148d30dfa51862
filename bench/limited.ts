// One process of the over-memory bench, asked `decode N`: decodes within a budget. Arguments: store, CID, bytes, threads.
import { createInterface } from 'node:readline'
import { loadModel, openStore } from '../src/api/index.js'
import { median } from './measure.js'
import { promptOf } from './prompt.js'

/** Some tokens, one after the other. */
export interface Streamed {
  readonly secondsPerToken: number
  readonly streamedBytesPerToken: number
  readonly readBytesPerToken: number
  /** of the time, how much computing waited and the disk worked */
  readonly waitShare: number
  readonly diskBusy: number
  readonly ids: readonly number[]
}

const [path, cid, memory, threads] = process.argv.slice(2) as [string, string, string, string]
const store = await openStore(path)
await using model = await loadModel(cid, { store, engine: 'native', memory: Number(memory), threads: Number(threads) })

async function decode(count: number): Promise<Streamed> {
  const times: number[] = []
  const ids: number[] = []
  const before = await model.stats()
  const began = performance.now()
  let last = began
  for await (const { tokenId } of model.generate(promptOf(3), { maxTokens: 1 + count, ignoreEos: true })) {
    times.push((performance.now() - last) / 1000)
    ids.push(tokenId)
    last = performance.now()
  }
  const elapsed = performance.now() - began
  const after = await model.stats()
  return {
    // the first also computes the prompt
    secondsPerToken: median(times.slice(1)),
    streamedBytesPerToken: after.streamedBytesPerPass,
    readBytesPerToken: (after.bytesRead - before.bytesRead) / (after.passes - before.passes),
    waitShare: (after.waitMs - before.waitMs) / elapsed,
    diskBusy: 1 - ((after.diskIdleMs ?? 0) - (before.diskIdleMs ?? 0)) / elapsed,
    ids,
  }
}

for await (const line of createInterface(process.stdin)) {
  const [what, count] = line.split(' ')
  if (what === 'decode') console.log(JSON.stringify(await decode(Number(count))))
}
