// 1, 4 and 16 generations at once within 30 percent of the weights' bytes: tokens per second of all of them together.
import { loadModel } from '../src/api/index.js'
import { eachDtype } from './llama-1b.js'
import { type Round, report, round, seconds, summary } from './measure.js'

const SETTINGS = { threads: 2, budgetShare: 0.3, tokens: 4, rounds: 5 }
const SIZES = [1, 4, 16]

await eachDtype(async ({ dtype, store, cid, weightBytes }) => {
  const memory = Math.floor(SETTINGS.budgetShare * weightBytes)
  await using model = await loadModel(cid, { store, engine: 'native', memory, threads: SETTINGS.threads })
  const streams = Array.from({ length: Math.max(...SIZES) }, (_, row) => model.generate([1, 2 + row], { ignoreEos: true }))
  // the prompts one by one; what counts is the tokens after them
  for (const stream of streams) await stream.next()
  const rounds: Round[] = []
  for (let at = 0; at < SETTINGS.rounds; at++) {
    const rates: number[] = []
    for (const size of SIZES) {
      const some = async (stream: (typeof streams)[number]) => {
        for (let token = 0; token < SETTINGS.tokens; token++) await stream.next()
      }
      // The pass that is under way already has as many rows then as those that are timed.
      await Promise.all(streams.slice(0, size).map((stream) => stream.next()))
      const before = (await model.stats()).passes
      const time = await seconds(() => Promise.all(streams.slice(0, size).map(some)))
      rates.push((size * SETTINGS.tokens) / time, (await model.stats()).passes - before)
    }
    const figures = SIZES.flatMap((size, at) => [
      [`tokensPerSecond${size}`, rates[2 * at]!],
      [`overLinear${size}`, rates[2 * at]! / rates[0]! / size],
      [`passes${size}`, rates[2 * at + 1]!],
    ])
    rounds.push(Object.fromEntries(figures))
  }
  for (const stream of streams) await stream.return(undefined)
  report('batch', { dtype, weightsMB: round(weightBytes / 1e6), settings: SETTINGS, ...summary(rounds) }, `batch-${dtype}`)
})
