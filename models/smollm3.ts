import type { ConfigReader } from './config.js'
import { decoderFamily } from './decoder.js'
import { headDimOf, kvHeadsOf } from './decoder-traits.js'
import { layerTypesOf } from './layer-types.js'
import { turnOf } from './turn.js'

/** SmolLM3: Llama with layers that turn nothing, every fourth unless config.json says otherwise. */
export const smollm3 = decoderFamily(
  'smollm3',
  (config) => {
    const headDim = headDimOf(config)
    const turn = turnOf(config, headDim, { theta: 2000000 })
    const isTurned = turnedLayers(config)
    return {
      qkvBias: config.flag('attention_bias', false),
      outputBias: config.flag('attention_bias', false),
      mlpBias: config.flag('mlp_bias', false),
      headDim,
      kvHeads: kvHeadsOf(config, 4),
      turn: (layer) => (isTurned(layer) ? turn : undefined),
      window: windowOf(config, isTurned),
    }
  },
  true,
)

/** `no_rope_layers` has, in spite of its name, a 1 for each layer that turns. */
function turnedLayers(config: ConfigReader): (layer: number) => boolean {
  const list = config.flags('no_rope_layers')
  const interval = config.size('no_rope_layer_interval', 4)
  return (layer) => (list ? (list[layer] ?? true) : (layer + 1) % interval !== 0)
}

/** Layers that turn nothing are those with a window, unless `layer_types` says otherwise; none unless `use_sliding_window`. */
function windowOf(config: ConfigReader, isTurned: (layer: number) => boolean): (layer: number) => number | undefined {
  if (!config.flag('use_sliding_window', false) || !config.has('sliding_window')) return () => undefined
  const window = config.size('sliding_window')
  const typeOf = layerTypesOf(config, (layer) => (isTurned(layer) ? 'full_attention' : 'sliding_attention'))
  return (layer) => (typeOf(layer) === 'sliding_attention' ? window : undefined)
}
