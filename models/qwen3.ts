import { decoderFamily, headDimOf } from './decoder.js'
import { qwenKvHeads, qwenWindow } from './qwen2.js'

/** Qwen3 (dense): no biases by default, but a norm on every head of queries and keys, and a head_dim of its own. */
export const qwen3 = decoderFamily('qwen3', (config) => ({
  qkvBias: config.flag('attention_bias', false),
  outputBias: config.flag('attention_bias', false),
  mlpBias: false,
  headNorm: true,
  headDim: headDimOf(config, 128),
  kvHeads: qwenKvHeads(config),
  window: qwenWindow(config),
}))
