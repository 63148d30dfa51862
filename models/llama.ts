import { decoderFamily } from './decoder.js'
import { headDimOf, kvHeadsOf } from './decoder-traits.js'

/** Llama 2, 3, TinyLlama, SmolLM and others of `LlamaForCausalLM`. */
export const llama = decoderFamily('llama', (config) => ({
  qkvBias: config.flag('attention_bias', false),
  outputBias: config.flag('attention_bias', false),
  mlpBias: config.flag('mlp_bias', false),
  headDim: headDimOf(config),
  kvHeads: kvHeadsOf(config),
}))
