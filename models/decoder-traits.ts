import type { Heads } from './attention.js'
import { badConfig, type ConfigReader } from './config.js'
import type { Experts } from './experts.js'
import type { Turn } from './turn.js'

/** The decoder that Llama made common: RMSNorm, rotary positions, grouped heads, gated MLP. What families differ in, none of it when left out: */
export interface DecoderTraits {
  readonly headDim: number
  readonly kvHeads: number
  /** how a layer turns queries and keys; undefined for not at all. All layers as config.json says when left out */
  readonly turn?: (layer: number) => Turn | undefined
  /** tokens that a layer's queries see, themselves included; undefined for all */
  readonly window?: (layer: number) => number | undefined
  /** biases of q_proj, k_proj and v_proj */
  readonly qkvBias?: boolean
  /** bias of o_proj */
  readonly outputBias?: boolean
  readonly mlpBias?: boolean
  /** a mixture of MLPs instead of one */
  readonly experts?: Experts
  /** queries, keys and values are one product, qkv_proj, and so are gate and up, gate_up_proj */
  readonly fused?: boolean
  /** RMSNorm of each head of queries and keys, before the rotation */
  readonly headNorm?: boolean
  /** RMSNorm of all heads of the queries together, and of all of the keys */
  readonly wholeNorm?: boolean
  /** queries, keys and values are kept between -clip and clip */
  readonly clip?: number | undefined
  /** norms multiply by 1 + weight */
  readonly centredNorms?: boolean
  /** norms also of what attention and MLP give, before it is added */
  readonly postNorms?: boolean
  /** of the products of queries and keys; head_dim ** -0.5 when left out */
  readonly scale?: number
  /** scores of attention, and logits, become cap * tanh(x / cap) */
  readonly attentionCap?: number | undefined
  readonly logitCap?: number | undefined
  /** embeddings are multiplied by it */
  readonly embeddingScale?: number
  /** activation of the MLP; `hidden_act` when left out */
  readonly act?: string
  /** of the norms where config.json does not say it; 1e-6 when left out */
  readonly usualEpsilon?: number
}

/** A decoder of which everything is known but its weights. */
export interface Decoder extends DecoderTraits, Heads {
  readonly scale: number
  readonly hidden: number
  readonly inner: number
  readonly epsilon: number
  readonly act: string
}

/** The usual head_dim: as given, else hidden_size / num_attention_heads, which must then divide. */
export function headDimOf(config: ConfigReader, fallback?: number): number {
  const [hidden, heads] = [config.size('hidden_size'), config.size('num_attention_heads')]
  if (config.has('head_dim')) return config.size('head_dim')
  if (fallback !== undefined) return fallback
  if (hidden % heads !== 0) throw badConfig(`hidden_size ${hidden} is not a multiple of num_attention_heads ${heads}`)
  return hidden / heads
}

/** Heads of keys and values: as many as query heads where the key is null, `fallback` where it is absent; as many too without a fallback. */
export function kvHeadsOf(config: ConfigReader, fallback?: number): number {
  const absent = config.isNull('num_key_value_heads') ? undefined : fallback
  return config.size('num_key_value_heads', absent ?? config.size('num_attention_heads'))
}
