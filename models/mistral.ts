import { decoderFamily } from './decoder.js'
import { headDimOf, kvHeadsOf } from './decoder-traits.js'

/** Mistral: Llama with a sliding window in every layer. */
export const mistral = decoderFamily('mistral', (config) => {
  // Absent means 4096, as in transformers; null means no window, and most newer files say null.
  const window = config.isNull('sliding_window') ? undefined : config.size('sliding_window', 4096)
  return { headDim: headDimOf(config), kvHeads: kvHeadsOf(config, 8), window: () => window }
})
