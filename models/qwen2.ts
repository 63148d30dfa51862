import type { ConfigReader } from './config.js'
import { decoderFamily } from './decoder.js'
import { headDimOf, kvHeadsOf } from './decoder-traits.js'
import { layerTypesOf } from './layer-types.js'

/** Qwen2 and Qwen2.5: Llama with biases on queries, keys and values. */
export const qwen2 = decoderFamily('qwen2', (config) => ({
  qkvBias: true,
  headDim: headDimOf(config),
  kvHeads: kvHeadsOf(config, 32),
  window: qwenWindow(config),
}))

/** The window of each layer: by `layer_types`, or from layer `max_window_layers` on in files without; none unless `use_sliding_window`. */
export function qwenWindow(config: ConfigReader): (layer: number) => number | undefined {
  if (!config.flag('use_sliding_window', false) || config.isNull('sliding_window')) return () => undefined
  const window = config.size('sliding_window', 4096)
  const first = config.count('max_window_layers', 28)
  const typeOf = layerTypesOf(config, (layer) => (layer >= first ? 'sliding_attention' : 'full_attention'))
  return (layer) => (typeOf(layer) === 'sliding_attention' ? window : undefined)
}
