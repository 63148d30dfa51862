import { describe, expect, it } from 'vitest'
import { readPooling } from '../../models/pooling.js'
import { sharedModel } from '../shared.js'
import { openStock, readJson, stockRuntime } from './checkpoint.js'
import { distance, ids, unfold } from './decoding.js'

const runtime = await stockRuntime()
const bert = sharedModel('tiny-bert')
const sentence = sharedModel('tiny-sentence')

describe.skipIf(!runtime || !bert)('tiny-bert in stock ONNX Runtime', () => {
  it('gives the last hidden state of transformers, padding included', async () => {
    const golden = readJson(bert!, 'golden.json')
    const opened = await openStock(runtime!, bert!)
    const types = golden.input_ids.map((row: number[]) => row.map(() => 0))
    const outputs = await opened.session.run({
      input_ids: ids(golden.input_ids),
      attention_mask: ids(golden.attention_mask),
      token_type_ids: ids(types),
    })
    await opened.close()
    expect(distance(unfold(outputs, 'last_hidden_state'), golden.last_hidden_state)).toBeLessThan(1e-4)
  })
})

/** Rows of unlike length as one right-padded batch. */
function padded(rows: number[][]) {
  const width = Math.max(...rows.map((row) => row.length))
  const fill = (value: (row: number[], n: number) => number) =>
    ids(rows.map((row) => Array.from({ length: width }, (_, n) => value(row, n))))
  return {
    input_ids: fill((row, n) => row[n] ?? 0),
    attention_mask: fill((row, n) => Number(n < row.length)),
    token_type_ids: fill(() => 0),
  }
}

describe.skipIf(!runtime || !sentence)('tiny-sentence in stock ONNX Runtime', () => {
  it('gives the embeddings of transformers, one by one and as a padded batch', async () => {
    const golden = readJson(sentence!, 'golden.json')
    const opened = await openStock(runtime!, sentence!, { pooling: readPooling(readJson(sentence!, '1_Pooling/config.json')) })
    const embed = async (rows: number[][]) => {
      const { data, dims } = (await opened.session.run(padded(rows))).sentence_embedding!
      return rows.map((_, n) => Array.from(data.slice(n * dims[1]!, (n + 1) * dims[1]!) as Float32Array))
    }
    expect(distance(await embed(golden.input_ids), golden.embeddings)).toBeLessThan(1e-5)
    for (const [n, row] of golden.input_ids.entries()) expect(distance(await embed([row]), [golden.embeddings[n]])).toBeLessThan(1e-5)
    await opened.close()
  })

  it('pools as it is told: first token, maximum, sum over the root of the length, unscaled', async () => {
    const golden = readJson(sentence!, 'golden.json')
    const modes = ['cls', 'max', 'mean_sqrt_len'] as const
    const opened = await openStock(runtime!, sentence!, { pooling: { modes, normalize: false } })
    const outputs = await opened.session.run(padded(golden.input_ids))
    await opened.close()
    const hidden = unfold(outputs, 'last_hidden_state')
    const expected = golden.input_ids.map((row: number[], b: number) => {
      const tokens = hidden[b]!.slice(0, row.length)
      const column = (pick: (values: number[]) => number) => tokens[0]!.map((_, n) => pick(tokens.map((token) => token[n]!)))
      const sum = column((values) => values.reduce((total, value) => total + value) / Math.sqrt(values.length))
      return [...tokens[0]!, ...column((values) => Math.max(...values)), ...sum]
    })
    const { data, dims } = outputs.sentence_embedding!
    const found = expected.map((_: unknown, n: number) => Array.from(data.slice(n * dims[1]!, (n + 1) * dims[1]!) as Float32Array))
    expect(distance(found, expected)).toBeLessThan(1e-5)
  })
})
