// 1, 4 and 16 generations at once within 30 percent of the weights' bytes: tokens per second of all of them together, beside as
// many times those of one, and beside what the same computing takes with all weights in memory.
import { loadModel } from '../src/api/index.js'
import { eachDtype } from './llama-1b.js'
import { type Round, report, round, seconds, summary } from './measure.js'

const SETTINGS = { threads: 2, budgetShare: 0.3, tokens: 4, rounds: 5 }
const SIZES = [1, 4, 16]

type Model = Awaited<ReturnType<typeof loadModel>>

/** Generations of a model, as many as are timed at most. */
async function generations(model: Model) {
  const streams = Array.from({ length: Math.max(...SIZES) }, (_, row) => model.generate([1, 2 + row], { ignoreEos: true }))
  // the prompts one by one; what counts is the tokens after them
  for (const stream of streams) await stream.next()
  return {
    /** tokens per second, and passes, of so many of them at once */
    async rate(size: number) {
      const some = async (stream: (typeof streams)[number]) => {
        for (let token = 0; token < SETTINGS.tokens; token++) await stream.next()
      }
      // The pass that is under way already has as many rows then as those that are timed.
      await Promise.all(streams.slice(0, size).map((stream) => stream.next()))
      const before = (await model.stats()).passes
      const time = await seconds(() => Promise.all(streams.slice(0, size).map(some)))
      return { tokens: (size * SETTINGS.tokens) / time, passes: (await model.stats()).passes - before }
    },
    async end() {
      for (const stream of streams) await stream.return(undefined)
    },
  }
}

await eachDtype(async ({ dtype, store, cid, weightBytes }) => {
  const load = (share: number) =>
    loadModel(cid, { store, engine: 'native', memory: Math.floor(share * weightBytes), threads: SETTINGS.threads })
  await using streamed = await load(SETTINGS.budgetShare)
  await using resident = await load(1.2)
  const [some, all] = [await generations(streamed), await generations(resident)]
  const rounds: Round[] = []
  for (let at = 0; at < SETTINGS.rounds; at++) {
    const figures: [string, number][] = []
    let one = 0
    for (const size of SIZES) {
      const { tokens, passes } = await some.rate(size)
      const computing = (await all.rate(size)).tokens
      if (size === 1) one = tokens
      figures.push(
        [`tokensPerSecond${size}`, tokens],
        [`computing${size}`, computing],
        [`overLinear${size}`, tokens / one / size],
        [`overBound${size}`, tokens / Math.min(one * size, computing)],
        [`passes${size}`, passes],
      )
    }
    rounds.push(Object.fromEntries(figures))
  }
  await some.end()
  await all.end()
  report('batch', { dtype, weightsMB: round(weightBytes / 1e6), settings: SETTINGS, ...summary(rounds) }, `batch-${dtype}`)
})
