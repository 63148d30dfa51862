import { describe, expect, it } from 'vitest'
import { fragment } from '../../src/api/index.js'
import { golden, worstDifference } from '../executor/assets.js'
import { stockLogits } from '../executor/stock.js'
import { TINY_MIXTURES } from '../models/tiny.js'
import { sharedModel } from '../shared.js'
import { temporary } from '../sources/files.js'

const runtime = await import('onnxruntime-node').catch(() => undefined)
const NAMES = [
  'tiny-llama',
  'tiny-qwen2',
  'tiny-mistral',
  'tiny-gpt2',
  'tiny-bert',
  'tiny-smollm3',
  'tiny-phi3',
  'tiny-gemma2',
  'tiny-gemma3',
  'tiny-gpt-neox',
  'tiny-roberta',
  'tiny-distilbert',
  ...TINY_MIXTURES,
  'tiny-t5',
]

interface Golden {
  input_ids: number[][]
  attention_mask?: number[][]
  decoder_input_ids?: number[][]
  logits?: number[][][]
  last_hidden_state?: number[][][]
}

describe.runIf(runtime && sharedModel('tiny-llama'))('an asset folder opens in stock ONNX Runtime', () => {
  it.each(NAMES)('%s, with the golden results', async (name) => {
    await using folder = await temporary()
    await fragment(sharedModel(name)!, { out: `${folder.path}/asset` })
    const {
      input_ids: ids,
      attention_mask: mask,
      decoder_input_ids: decoderIds,
      logits,
      last_hidden_state: hidden,
    } = await golden<Golden>(name)
    const found = await stockLogits(`${folder.path}/asset`, ids, mask, decoderIds)
    expect(worstDifference(found!, (logits ?? hidden)!.flat(2))).toBeLessThan(1e-4)
  })
})
