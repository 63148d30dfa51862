// Decoding in ONNX Runtime with all, 60% and 30% of the weights' bytes: tokens/s, bytes read, and the time against reading those bytes alone.
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { fragment, loadModel, openStore, plan } from '../src/api/index.js'
import { median, report, round, seconds } from './measure.js'
import { withFolder, writeLlama } from './synthetic.js'

const TOKENS = 8

await withFolder(1e9, async (folder) => {
  const bytes = await writeLlama(join(folder, 'in'), { hidden: 1024, inner: 2816, layers: 10, vocab: 8192 })
  const store = await openStore(join(folder, 'store'))
  const { cid } = await fragment(join(folder, 'in'), { store })
  const { weightBytes } = await plan(cid, { store, engine: 'onnx' })
  const readSpeed = async () => {
    const handle = await open(join(folder, 'in', 'model.safetensors'))
    const buffer = new Uint8Array(4 * 1024 * 1024)
    const took = await seconds(async () => {
      while ((await handle.read(buffer, 0, buffer.byteLength, null)).bytesRead > 0);
    })
    await handle.close()
    return bytes / took
  }
  const budgets: Record<string, object> = {}
  for (const share of [1, 0.6, 0.3]) {
    const started = performance.now()
    await using model = await loadModel(cid, { store, engine: 'onnx', memory: Math.floor(weightBytes * share) })
    const loadMs = performance.now() - started
    const firstMs = 1000 * (await seconds(async () => drain(model.generate([1, 2, 3], { maxTokens: 1 }))))
    const rounds: { perPass: number; read: number; bound: number; wait: number; compute: number }[] = []
    for (let round = 0; round < 5; round++) {
      const raw = await readSpeed()
      const before = await model.stats()
      const took = await seconds(() => drain(model.generate([1, 2, 3], { maxTokens: TOKENS, ignoreEos: true })))
      const after = await model.stats()
      const passes = after.passes - before.passes
      const read = (after.bytesRead - before.bytesRead) / passes
      rounds.push({
        perPass: took / passes,
        read,
        bound: read / raw,
        wait: (after.waitMs - before.waitMs) / 1000 / took,
        compute: (after.computeMs - before.computeMs) / 1000 / took,
      })
    }
    const of = (pick: (one: (typeof rounds)[number]) => number) => round(median(rounds.map(pick)))
    budgets[`${share * 100}%`] = {
      loadMs: round(loadMs),
      firstTokenMs: round(firstMs),
      tokensPerSecond: of((one) => 1 / one.perPass),
      megabytesPerToken: of((one) => one.read / 1e6),
      timeOverReading: share === 1 ? undefined : of((one) => one.perPass / one.bound),
      waiting: of((one) => one.wait),
      computing: of((one) => one.compute),
    }
  }
  report('decode', { weightsMB: round(weightBytes / 1e6), budgets })
})

async function drain(items: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of items);
}
