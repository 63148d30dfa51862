import { decoderFamily } from './decoder.js'
import { headDimOf, kvHeadsOf } from './decoder-traits.js'
import { qwenWindow } from './qwen2.js'

/** Qwen3 (dense): no biases by default, but a norm on every head of queries and keys, and a head_dim of its own. */
export const qwen3 = decoderFamily('qwen3', (config) => ({
  qkvBias: config.flag('attention_bias', false),
  outputBias: config.flag('attention_bias', false),
  headNorm: true,
  headDim: headDimOf(config, 128),
  kvHeads: kvHeadsOf(config, 32),
  window: qwenWindow(config),
}))
