// Prompts of 128 and 512 tokens: arithmetic of the matrices per second, against the multiply-adds of float32 that two threads can
// do: exactly, within budgets too, and fast, for which weights of fewer bits are another matter.
import { dirname } from 'node:path'
import { fragment, type LoadOptions, loadModel, plan } from '../src/api/index.js'
import { startBounds } from './bounds.js'
import { median, report, round, seconds } from './measure.js'
import { LLAMA_1B, withLlama } from './synthetic.js'

await withLlama(LLAMA_1B, async (store, cid, source) => {
  await using bounds = await startBounds()
  const { weightBytes } = await plan(cid, { store, engine: 'native' })
  const { hidden, vocab } = LLAMA_1B
  // every matrix but the head, which only the last row goes through; two operations a weight and row
  const operations = (rows: number) => 2 * ((weightBytes / 2 - hidden * vocab) * rows + hidden * vocab)
  const budgets: Record<string, object> = {}
  const measure = async (name: string, asset: string, options: LoadOptions) => {
    await using model = await loadModel(asset, { store, engine: 'native', threads: 2, ...options })
    for (const rows of [128, 512]) {
      const ids = Array.from({ length: rows }, (_, at) => 1 + ((at * 7919) % (vocab - 1)))
      const prompt = () =>
        seconds(async () => {
          for await (const _ of model.generate(ids, { maxTokens: 1, ignoreEos: true }));
        })
      await prompt()
      const rounds: { time: number; peak: number }[] = []
      for (let at = 0; at < 5; at++) rounds.push({ peak: (await bounds.fma()) * 1e9, time: await prompt() })
      budgets[`${rows} tokens${name}`] = {
        seconds: round(median(rounds.map(({ time }) => time))),
        gflops: round(median(rounds.map(({ time }) => operations(rows) / 1e9 / time))),
        peakGflops: round(median(rounds.map(({ peak }) => peak / 1e9))),
        ofPeak: round(median(rounds.map(({ time, peak }) => operations(rows) / time / peak))),
      }
    }
  }
  for (const share of [1, 0.3]) await measure(` at ${share * 100}%`, cid, { memory: Math.floor(share * weightBytes) })
  for (const dtype of ['keep', 'q8', 'q4'] as const) {
    const asset = dtype === 'keep' ? cid : (await fragment(dirname(source), { store, dtype })).cid
    await measure(`, fast${dtype === 'keep' ? '' : `, ${dtype}`}`, asset, { memory: weightBytes, precision: 'fast' })
  }
  report('prefill', { dtype: 'BF16', ...budgets })
})
