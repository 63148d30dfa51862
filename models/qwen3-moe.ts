import type { ConfigReader } from './config.js'
import { decoderFamily } from './decoder.js'
import { headDimOf, kvHeadsOf } from './decoder-traits.js'
import { expertsOf, stackedExperts } from './experts.js'
import type { Family } from './family.js'

const family = decoderFamily('qwen3_moe', (config) => ({
  qkvBias: config.flag('attention_bias', false),
  outputBias: config.flag('attention_bias', false),
  headNorm: true,
  headDim: headDimOf(config),
  kvHeads: kvHeadsOf(config, 4),
  window: windowOf(config),
  experts: {
    ...expertsOf(config, { count: 128, perToken: 8 }),
    inner: config.size('moe_intermediate_size', 768),
    normalised: config.flag('norm_topk_prob', false),
    isSparse: sparseLayers(config),
  },
}))

/** Qwen3 with experts, in some of its layers or in all. */
export const qwen3Moe: Family = { ...family, parts: stackedExperts() }

/** The window of all layers; none unless `use_sliding_window`. */
function windowOf(config: ConfigReader): () => number | undefined {
  const uses = config.flag('use_sliding_window', false) && !config.isNull('sliding_window')
  const window = uses ? config.size('sliding_window', 4096) : undefined
  return () => window
}

/** Every `decoder_sparse_step`th layer, but for those in `mlp_only_layers`. */
function sparseLayers(config: ConfigReader): (layer: number) => boolean {
  const step = config.size('decoder_sparse_step', 1)
  const dense = new Set(config.counts('mlp_only_layers'))
  return (layer) => !dense.has(layer) && (layer + 1) % step === 0
}
