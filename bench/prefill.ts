// Prompts of 128 and 512 tokens: arithmetic of the matrices per second, against the multiply-adds that two threads can do; with
// 30 percent of the weights' memory against computing alone and reading alone; beside it llama.cpp.
import { loadModel, type Model } from '../src/api/index.js'
import { startBounds } from './bounds.js'
import { eachDtype } from './llama-1b.js'
import { withLlamaCpp } from './llama-cpp.js'
import { type Round, report, round, seconds, summary } from './measure.js'
import { promptOf } from './prompt.js'
import { LLAMA_1B, parametersOf } from './synthetic.js'

const SETTINGS = { threads: 2, budgetShare: 0.3, rounds: 5 }

// every matrix but the head, which only the last row goes through; two operations a weight and row
const head = LLAMA_1B.hidden * LLAMA_1B.vocab
const operations = (rows: number) => 2 * ((parametersOf(LLAMA_1B) - head) * rows + head)

const prompt = (model: Model, rows: number) =>
  seconds(async () => {
    for await (const _ of model.generate(promptOf(rows), { maxTokens: 1, ignoreEos: true }));
  })

await eachDtype(async (measured) => {
  const { dtype, store, cid, weightBytes, files } = measured
  await using bounds = await startBounds()
  const load = (memory: number, precision: 'exact' | 'fast' = 'exact') =>
    loadModel(cid, { store, engine: 'native', memory, precision, threads: SETTINGS.threads })
  await using resident = await load(weightBytes)
  // the same weights in memory once more costs nothing
  await using fast = await load(weightBytes, 'fast')
  await using streaming = await load(Math.floor(SETTINGS.budgetShare * weightBytes))
  const { streamedBytesPerPass } = await streaming.stats()
  await withLlamaCpp(measured, async (peer, installed) => {
    const prompts: Record<string, object> = {}
    for (const rows of [128, 512]) {
      // it is measured with the prompt that its batches are made for
      const theirs = async () => (rows === 128 ? peer?.prefill(rows) : undefined)
      await prompt(resident, rows)
      await prompt(fast, rows)
      await theirs()
      const rounds: Round[] = []
      for (let at = 0; at < SETTINGS.rounds; at++) {
        const before = await bounds.fma()
        const time = await prompt(resident, rows)
        // what disturbs it can only make it less
        const peak = Math.max(before, await bounds.fma()) * 1e9
        const llamaCpp = await theirs()
        const rounded = await prompt(fast, rows)
        const raw = (await bounds.disk(files)) * 1e9
        const streamed = await prompt(streaming, rows)
        rounds.push({
          seconds: time,
          gflops: operations(rows) / 1e9 / time,
          peakGflops: peak / 1e9,
          ofPeak: operations(rows) / time / peak,
          streamingSeconds: streamed,
          readingSeconds: streamedBytesPerPass / raw,
          streamingOverBound: streamed / Math.max(time, streamedBytesPerPass / raw),
          fastSeconds: rounded,
          ...(llamaCpp && { llamaCppSeconds: llamaCpp, overLlamaCpp: llamaCpp / time, fastOverLlamaCpp: llamaCpp / rounded }),
        })
      }
      prompts[rows] = summary(rounds)
    }
    const facts = { dtype, weightsMB: round(weightBytes / 1e6), streamedMB: round(streamedBytesPerPass / 1e6) }
    report('prefill', { ...facts, llamaCpp: installed?.version, settings: SETTINGS, prompts }, `prefill-${dtype}`)
  })
})
