import type { Heads } from './attention.js'
import { badConfig, type ConfigReader } from './config.js'

/** The decoder that Llama made common: RMSNorm, rotary positions, grouped heads, gated MLP. What families differ in, none of it when left out: */
export interface DecoderTraits {
  readonly headDim: number
  readonly kvHeads: number
  /** biases of q_proj, k_proj and v_proj */
  readonly qkvBias?: boolean
  /** bias of o_proj */
  readonly outputBias?: boolean
  readonly mlpBias?: boolean
  /** RMSNorm of each head of queries and keys, before the rotation */
  readonly headNorm?: boolean
  /** tokens that a layer's queries see, themselves included; undefined for all */
  readonly window?: (layer: number) => number | undefined
}

/** A decoder of which everything is known but its weights. */
export interface Decoder extends DecoderTraits, Heads {
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
