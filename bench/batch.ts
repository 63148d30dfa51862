// 1, 4 and 16 generations at once within 30 percent of the weights' bytes: tokens per second of all of them together.
import { loadModel, plan } from '../src/api/index.js'
import { median, report, round, seconds } from './measure.js'
import { LLAMA_1B, withLlama } from './synthetic.js'

const TOKENS = 5

await withLlama(LLAMA_1B, async (store, cid) => {
  const { weightBytes } = await plan(cid, { store, engine: 'native' })
  await using model = await loadModel(cid, { store, engine: 'native', memory: Math.floor(0.3 * weightBytes), threads: 2 })
  const sizes = [1, 4, 16]
  const rounds: number[][] = []
  for (let at = 0; at < 5; at++) {
    const rates: number[] = []
    for (const size of sizes) {
      const streams = Array.from({ length: size }, (_, row) => model.generate([1, 2 + row], { maxTokens: 1 + TOKENS, ignoreEos: true }))
      // the prompts one by one; what counts is the tokens after them
      await Promise.all(streams.map((stream) => stream.next()))
      const time = await seconds(() =>
        Promise.all(
          streams.map(async (stream) => {
            for await (const _ of stream);
          }),
        ),
      )
      rates.push((size * TOKENS) / time)
    }
    rounds.push(rates)
  }
  report('batch', {
    dtype: 'BF16',
    tokensPerSecond: Object.fromEntries(sizes.map((size, at) => [size, round(median(rounds.map((rates) => rates[at]!)))])),
    overLinear: Object.fromEntries(sizes.map((size, at) => [size, round(median(rounds.map((rates) => rates[at]! / rates[0]! / size)))])),
  })
})
