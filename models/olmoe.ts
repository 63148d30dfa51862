import { decoderFamily } from './decoder.js'
import { headDimOf, kvHeadsOf } from './decoder-traits.js'
import { expertsOf, stackedExperts } from './experts.js'
import type { Family } from './family.js'

const family = decoderFamily('olmoe', (config) => ({
  qkvBias: config.flag('attention_bias', false),
  outputBias: config.flag('attention_bias', false),
  wholeNorm: true,
  clip: config.has('clip_qkv') ? config.positive('clip_qkv') : undefined,
  headDim: headDimOf(config),
  kvHeads: kvHeadsOf(config),
  usualEpsilon: 1e-5,
  experts: {
    ...expertsOf(config, { count: 64, perToken: 8 }),
    inner: config.size('intermediate_size'),
    normalised: config.flag('norm_topk_prob', false),
  },
}))

/** OLMoE: experts in every layer, a norm over all queries and one over all keys. */
export const olmoe: Family = { ...family, parts: stackedExperts() }
