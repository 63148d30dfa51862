// What do fewer bits cost? stories260k in every dtype against its float32 self, and with the prompt computed fast against the same
// weights computed exactly, over the texts of its golden: the mean absolute error of the logits, how often the likeliest token is
// another one, and the perplexity.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fragment, loadModel, openStore, type Store } from '../src/api/index.js'
import { WEIGHT_DTYPES } from '../src/asset/convert/plan.js'
import { report, round } from './measure.js'
import { withFolder } from './synthetic.js'

interface Golden {
  readonly cases: readonly { readonly input_ids: number[]; readonly greedy_ids: number[] }[]
}

const checkpoint = fileURLToPath(new URL('../../../shared/models/stories260k', import.meta.url))

/** Logits (positions, vocabulary) of one text. */
type Rows = readonly Float32Array[]

/** Minus the logarithm of the likelihood of a token. */
function surprise(logits: Float32Array, token: number): number {
  const most = logits.reduce((a, b) => Math.max(a, b))
  return Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - most), 0)) + most - logits[token]!
}

const likeliest = (logits: Float32Array) => logits.indexOf(logits.reduce((a, b) => Math.max(a, b)))
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length

/** The logits of all positions of each text, and whether they were computed fast. */
async function logitsOf(store: Store, cid: string, texts: readonly number[][], precision: 'exact' | 'fast') {
  await using model = await loadModel(cid, { store, precision })
  const rows: Rows[] = []
  for (const ids of texts) {
    const { logits } = await model.run({ input_ids: { type: 'int64', data: BigInt64Array.from(ids, BigInt), dims: [1, ids.length] } })
    const [all, width] = [logits!.data as Float32Array, logits!.dims[2]!]
    rows.push(ids.map((_, at) => all.subarray(at * width, (at + 1) * width)))
  }
  return { rows, fast: (await model.stats()).precision === 'fast' }
}

function lossOf(texts: readonly number[][], rows: readonly Rows[], exact: readonly Rows[]) {
  const pairs = rows.flatMap((text, at) => text.map((row, position) => [row, exact[at]![position]!] as const))
  const surprises = rows.flatMap((text, at) => text.slice(0, -1).map((row, position) => surprise(row, texts[at]![position + 1]!)))
  return {
    meanLogitError: round(mean(pairs.map(([a, b]) => mean(Array.from(a, (logit, i) => Math.abs(logit - b[i]!)))))),
    worstLogitError: round(Math.max(...pairs.map(([a, b]) => a.reduce((worst, logit, i) => Math.max(worst, Math.abs(logit - b[i]!)), 0)))),
    otherTokens: round(mean(pairs.map(([a, b]) => Number(likeliest(a) !== likeliest(b))))),
    perplexity: Number(Math.exp(mean(surprises)).toFixed(4)),
  }
}

async function main(): Promise<void> {
  const { cases } = JSON.parse(readFileSync(join(checkpoint, 'golden.json'), 'utf8')) as Golden
  const texts = cases.map(({ input_ids, greedy_ids }) => [...input_ids, ...greedy_ids])
  await withFolder(1e7, async (folder) => {
    const store = await openStore(join(folder, 'store'))
    const figures: Record<string, object> = {}
    let original: Rows[] = []
    for (const dtype of WEIGHT_DTYPES) {
      const { cid, bytes } = await fragment(checkpoint, { store, dtype })
      const exact = (await logitsOf(store, cid, texts, 'exact')).rows
      if (dtype === 'keep') original = exact
      const { rows, fast } = await logitsOf(store, cid, texts, 'fast')
      figures[dtype] = { bytes, ...lossOf(texts, exact, original), ...(fast && { fast: lossOf(texts, rows, exact) }) }
    }
    report('loss', { model: 'stories260k', tokens: texts.flat().length, figures })
  })
}

if (existsSync(checkpoint)) await main()
else console.error(`bench: skipped: ${checkpoint} is not on this machine`)
