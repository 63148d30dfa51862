// Decoding with all weights in memory: bytes of weights that a token touches per second, against what two threads can read.
import { loadModel, plan } from '../src/api/index.js'
import { startBounds } from './bounds.js'
import { median, report, round } from './measure.js'
import { LLAMA_1B, withLlama } from './synthetic.js'

const TOKENS = 8

await withLlama(LLAMA_1B, async (store, cid) => {
  await using bounds = await startBounds()
  const { weightBytes } = await plan(cid, { store, engine: 'native' })
  const started = performance.now()
  await using model = await loadModel(cid, { store, engine: 'native', memory: weightBytes, threads: 2 })
  const loadMs = performance.now() - started
  const rounds: { tokens: number; ours: number; bound: number }[] = []
  for (let at = 0; at < 7; at++) {
    const before = await bounds.memory()
    const times: number[] = []
    let last = performance.now()
    for await (const _ of model.generate([1, 2, 3], { maxTokens: TOKENS, ignoreEos: true })) {
      times.push((performance.now() - last) / 1000)
      last = performance.now()
    }
    // the first token also computes the prompt
    const seconds = median(times.slice(1))
    rounds.push({ tokens: 1 / seconds, ours: weightBytes / 1e9 / seconds, bound: (before + (await bounds.memory())) / 2 })
  }
  const of = (pick: (one: (typeof rounds)[number]) => number) => round(median(rounds.map(pick)))
  report('resident', {
    dtype: 'BF16',
    weightsMB: round(weightBytes / 1e6),
    loadMs: round(loadMs),
    tokensPerSecond: of(({ tokens }) => tokens),
    gigabytesPerSecond: of(({ ours }) => ours),
    readBandwidth: of(({ bound }) => bound),
    ofReadBandwidth: of(({ ours, bound }) => ours / bound),
    ofReadBandwidthRounds: rounds.map(({ ours, bound }) => round(ours / bound)),
  })
})
