import { decoderFamily } from './decoder.js'
import { headDimOf, kvHeadsOf } from './decoder-traits.js'
import { turnOf } from './turn.js'

/** Phi-3, 3.5 and 4-mini: Llama with fused products, heads that may be turned in part, and LongRoPE. */
export const phi3 = decoderFamily('phi3', (config) => {
  const headDim = headDimOf(config)
  const turn = turnOf(config, headDim, { partial: 1 })
  const window = config.has('sliding_window') ? config.size('sliding_window') : undefined
  return { fused: true, headDim, kvHeads: kvHeadsOf(config), turn: () => turn, window: () => window, usualEpsilon: 1e-5 }
})
