import { decoderFamily, headDimOf } from './decoder.js'

/** Llama 2, 3, TinyLlama, SmolLM and others of `LlamaForCausalLM`. */
export const llama = decoderFamily('llama', (config) => ({
  qkvBias: config.flag('attention_bias', false),
  outputBias: config.flag('attention_bias', false),
  mlpBias: config.flag('mlp_bias', false),
  headNorm: false,
  headDim: headDimOf(config),
  kvHeads: config.size('num_key_value_heads', config.size('num_attention_heads')),
  window: () => undefined,
}))
