import { decoderFamily, headDimOf } from './decoder.js'

/** Mistral: Llama with a sliding window in every layer. */
export const mistral = decoderFamily('mistral', (config) => {
  // Absent means 4096, as in transformers; null means no window, and most newer files say null.
  const window = config.isNull('sliding_window') ? undefined : config.size('sliding_window', 4096)
  return {
    qkvBias: false,
    outputBias: false,
    mlpBias: false,
    headNorm: false,
    headDim: headDimOf(config),
    kvHeads: config.isNull('num_key_value_heads') ? config.size('num_attention_heads') : config.size('num_key_value_heads', 8),
    window: () => window,
  }
})
