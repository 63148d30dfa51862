// One process of the over-memory bench: decodes within a budget and prints its figures as JSON. Arguments: store, CID, bytes, tokens.
import { loadModel, openStore } from '../src/api/index.js'
import { median } from './measure.js'

const [path, cid, memory, tokens] = process.argv.slice(2) as [string, string, string, string]
await using model = await loadModel(cid, { store: await openStore(path), engine: 'native', memory: Number(memory), threads: 2 })
const generate = async () => {
  const times: number[] = []
  let last = performance.now()
  for await (const _ of model.generate([1, 2, 3], { maxTokens: Number(tokens), ignoreEos: true })) {
    times.push((performance.now() - last) / 1000)
    last = performance.now()
  }
  return times.slice(1)
}
await generate()
const before = await model.stats()
const began = performance.now()
const times = await generate()
const elapsed = performance.now() - began
const after = await model.stats()
const per = (pick: (stats: typeof before) => number) => (pick(after) - pick(before)) / (after.passes - before.passes)
console.log(
  JSON.stringify({
    secondsPerToken: median(times),
    streamedBytes: after.streamedBytesPerPass,
    readBytes: per(({ bytesRead }) => bytesRead),
    waitShare: (after.waitMs - before.waitMs) / elapsed,
    diskBusy: 1 - ((after.diskIdleMs ?? 0) - (before.diskIdleMs ?? 0)) / elapsed,
  }),
)
