import { type ConfigReader, refuseFlags } from './config.js'
import { decoderFamily } from './decoder.js'
import { type DecoderTraits, kvHeadsOf } from './decoder-traits.js'
import { type LayerType, layerTypesOf } from './layer-types.js'

/** Gemma 2: norms around attention and MLP, capped scores and logits, a window in every second layer. */
export const gemma2 = decoderFamily(
  'gemma2',
  (config) => ({
    ...gemmaTraits(config),
    attentionCap: capOf(config, 'attn_logit_softcapping', 50),
    logitCap: capOf(config, 'final_logit_softcapping', 30),
    window: gemmaWindow(config, gemmaLayerTypes(config, 2)),
  }),
  true,
)

/** What Gemma 2 and 3 have in common. */
export function gemmaTraits(config: ConfigReader): DecoderTraits {
  refuseFlags(config, 'use_bidirectional_attention')
  return {
    qkvBias: config.flag('attention_bias', false),
    outputBias: config.flag('attention_bias', false),
    headDim: config.size('head_dim', 256),
    kvHeads: kvHeadsOf(config, 4),
    centredNorms: true,
    postNorms: true,
    scale: config.positive('query_pre_attn_scalar', 256) ** -0.5,
    embeddingScale: Math.sqrt(config.size('hidden_size')),
    act: config.text('hidden_activation', 'gelu_pytorch_tanh'),
  }
}

/** A cap: null means none, absent `usual`. */
export function capOf(config: ConfigReader, key: string, usual: number | undefined): number | undefined {
  if (config.isNull(key) || (usual === undefined && !config.has(key))) return undefined
  return config.positive(key, usual)
}

/** In files without `layer_types` every layer has a window but each `pattern`th. */
export function gemmaLayerTypes(config: ConfigReader, pattern: number): (layer: number) => LayerType {
  return layerTypesOf(config, (layer) => ((layer + 1) % pattern === 0 ? 'full_attention' : 'sliding_attention'))
}

/** The window of each layer by its type; null means none. */
export function gemmaWindow(config: ConfigReader, typeOf: (layer: number) => LayerType): (layer: number) => number | undefined {
  const window = config.isNull('sliding_window') ? undefined : config.size('sliding_window', 4096)
  return (layer) => (typeOf(layer) === 'sliding_attention' ? window : undefined)
}
