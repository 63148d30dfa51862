// Does the event loop of the calling thread stay free while two generations run? Delay beyond the timer, in milliseconds.
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { fragment, loadModel, openStore } from '../src/api/index.js'
import { median, report, round } from './measure.js'
import { withFolder, writeLlama } from './synthetic.js'

const RESOLUTION = 1

await withFolder(1e9, async (folder) => {
  await writeLlama(join(folder, 'in'), { hidden: 1024, inner: 2816, layers: 10, vocab: 8192 })
  const store = await openStore(join(folder, 'store'))
  const { cid } = await fragment(join(folder, 'in'), { store })
  const engines: Record<string, object> = {}
  for (const engine of ['native', 'onnx'] as const) {
    await using model = await loadModel(cid, { store, engine, memory: '150MB' })
    const drain = async () => {
      for await (const _ of model.generate([1, 2, 3], { maxTokens: 8, ignoreEos: true }));
    }
    await drain()
    const rounds: { p50: number; p99: number; max: number }[] = []
    for (let round = 0; round < 5; round++) {
      const delay = monitorEventLoopDelay({ resolution: RESOLUTION })
      delay.enable()
      await Promise.all([drain(), drain()])
      delay.disable()
      const beyond = (nanoseconds: number) => nanoseconds / 1e6 - RESOLUTION
      rounds.push({ p50: beyond(delay.percentile(50)), p99: beyond(delay.percentile(99)), max: beyond(delay.max) })
    }
    const of = (pick: (one: (typeof rounds)[number]) => number) => round(median(rounds.map(pick)))
    const figures = { p50Ms: of(({ p50 }) => p50), p99Ms: of(({ p99 }) => p99), maxMs: of(({ max }) => max) }
    engines[engine] = { ...figures, p99MsRounds: rounds.map(({ p99 }) => round(p99)) }
  }
  report('event-loop', engines)
})
