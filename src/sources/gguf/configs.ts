import type { Metadata } from './metadata.js'

/** What a file says of its model, for config.json. */
export interface ModelFacts {
  readonly metadata: Metadata
  /** what llama.cpp calls the architecture, before each key of it */
  readonly prefix: string
  /** the numbers of a small tensor, by its name */
  readonly factors: ReadonlyMap<string, readonly number[]>
}

type Config = Record<string, unknown>

/** Reads the architecture's own keys. */
class Keys {
  constructor(private readonly facts: ModelFacts) {}

  number(key: string): number | undefined {
    return this.facts.metadata.number(this.name(key))
  }

  text(key: string): string | undefined {
    return this.facts.metadata.text(this.name(key))
  }

  flag(key: string): boolean | undefined {
    return this.facts.metadata.flag(this.name(key))
  }

  /** A size, which may be given layer by layer where it is the same for all. @throws AssetError 'BAD_INPUT' where it is not */
  size(key: string): number | undefined {
    const { metadata } = this.facts
    const name = this.name(key)
    if (!metadata.isList(name)) return metadata.count(name)
    const [first, ...others] = metadata.numbers(name)!
    if (others.some((other) => other !== first)) throw metadata.refusal(name, 'the same for all layers, which is all that is supported')
    return first
  }

  private name(key: string): string {
    return `${this.facts.prefix}.${key}`
  }
}

/** How many heads there are, where the file says so. */
export function headsOf(facts: ModelFacts): { heads: number; kvHeads: number } | undefined {
  const keys = new Keys(facts)
  const heads = keys.size('attention.head_count')
  const kvHeads = keys.size('attention.head_count_kv') ?? heads
  return heads && kvHeads ? { heads, kvHeads } : undefined
}

/** What decoders like Llama have in common. */
export function plainConfig(facts: ModelFacts): Config {
  const keys = new Keys(facts)
  return {
    hidden_size: keys.size('embedding_length'),
    intermediate_size: keys.size('feed_forward_length'),
    num_hidden_layers: keys.size('block_count'),
    num_attention_heads: keys.size('attention.head_count'),
    num_key_value_heads: keys.size('attention.head_count_kv'),
    head_dim: keys.size('attention.key_length'),
    max_position_embeddings: keys.size('context_length'),
    rms_norm_eps: keys.number('attention.layer_norm_rms_epsilon'),
    hidden_act: 'silu',
    rope_theta: keys.number('rope.freq_base'),
    rope_scaling: scaling(facts),
  }
}

/** How positions are stretched; undefined where they are not. */
function scaling(facts: ModelFacts): Config | undefined {
  const keys = new Keys(facts)
  const type = keys.text('rope.scaling.type')
  const factor = keys.number('rope.scaling.factor') ?? keys.number('rope.scale_linear')
  if (factor === undefined || factor === 1 || type === 'none' || type === 'longrope') return undefined
  const original = keys.size('rope.scaling.original_context_length')
  return { rope_type: type ?? 'linear', factor, ...(original && { original_max_position_embeddings: original }) }
}

export function llamaConfig(facts: ModelFacts): Config {
  const keys = new Keys(facts)
  const config = plainConfig(facts)
  // Each frequency has a factor of its own in the file; longrope is how config.json says that.
  const factors = facts.factors.get('rope_freqs.weight')
  const stretched = { rope_type: 'longrope', short_factor: factors, long_factor: factors, attention_factor: 1 }
  return {
    ...config,
    head_dim: config.head_dim ?? keys.size('rope.dimension_count'),
    attention_bias: false,
    mlp_bias: false,
    ...(factors && { rope_scaling: llama3Scaling(factors, Number(config.rope_theta ?? 10000)) ?? stretched }),
  }
}

const [LOW, HIGH, USUAL_LENGTH] = [1, 4, 8192]

/**
 * The parameters of Llama 3 that give these factors, where they do to float32 precision. `factor` is that of the lowest frequency; how
 * long sequences were at first shows in any frequency that is stretched by less; the other two are the same in all models.
 */
function llama3Scaling(factors: readonly number[], theta: number): Config | undefined {
  const factor = factors.at(-1)!
  const wavelengths = factors.map((_, n) => 2 * Math.PI * theta ** (n / factors.length))
  const blended = factors.findIndex((found) => found > 1 && found < factor)
  const part = (1 / (factors[blended] ?? 1) - 1 / factor) / (1 - 1 / factor)
  const length = blended < 0 ? USUAL_LENGTH : Math.round(wavelengths[blended]! * (part * (HIGH - LOW) + LOW))
  const fits = factors.every((found, n) => {
    const smooth = Math.min(Math.max((length / wavelengths[n]! - LOW) / (HIGH - LOW), 0), 1)
    return Math.abs(found * ((1 - smooth) / factor + smooth) - 1) < 1e-4
  })
  if (!fits) return undefined
  return { rope_type: 'llama3', factor, low_freq_factor: LOW, high_freq_factor: HIGH, original_max_position_embeddings: length }
}

export function qwen3Config(facts: ModelFacts): Config {
  return { ...plainConfig(facts), attention_bias: false, use_sliding_window: false }
}

export function phi3Config(facts: ModelFacts): Config {
  const keys = new Keys(facts)
  const config = plainConfig(facts)
  const [long, short] = [facts.factors.get('rope_factors_long.weight'), facts.factors.get('rope_factors_short.weight')]
  const original = keys.size('rope.scaling.original_context_length')
  const [hidden, heads, turned] = [keys.size('embedding_length'), keys.size('attention.head_count'), keys.size('rope.dimension_count')]
  const partial = hidden && heads && turned ? turned / (hidden / heads) : 1
  return {
    ...config,
    sliding_window: keys.size('attention.sliding_window') || null,
    ...(partial !== 1 && { partial_rotary_factor: partial }),
    ...(original && { original_max_position_embeddings: original }),
    ...(long && short && { rope_scaling: { rope_type: 'longrope', short_factor: short, long_factor: long } }),
  }
}

/** Gemma 2 and 3. The file does not say by what scores are multiplied: by the width of a head, but in the models of 27 billion weights. */
export function gemmaConfig(facts: ModelFacts): Config {
  const keys = new Keys(facts)
  const isThird = facts.prefix === 'gemma3'
  const config = plainConfig(facts)
  const [hidden, heads, layers] = [keys.size('embedding_length') ?? 0, keys.size('attention.head_count') || 1, keys.size('block_count')]
  const isLargest = layers === (isThird ? 62 : 46)
  const width = keys.size('attention.key_length') ?? 256
  return {
    ...config,
    hidden_act: undefined,
    hidden_activation: 'gelu_pytorch_tanh',
    head_dim: width,
    rope_theta: config.rope_theta ?? (isThird ? 1000000 : 10000),
    query_pre_attn_scalar: isLargest ? hidden / heads : width,
    sliding_window: keys.size('attention.sliding_window') || null,
    final_logit_softcapping: keys.number('final_logit_softcapping') ?? null,
    ...windows(facts),
    ...(isThird
      ? { rope_local_base_freq: keys.number('rope.freq_base_swa') ?? 10000 }
      : { attn_logit_softcapping: keys.number('attn_logit_softcapping') ?? null }),
  }
}

/** Which layers have a window: given for each, or all but each so-manieth; nothing where the family knows. */
function windows({ metadata, prefix }: ModelFacts): Config {
  const key = `${prefix}.attention.sliding_window_pattern`
  if (!metadata.isList(key)) return { sliding_window_pattern: metadata.count(key) }
  return { layer_types: metadata.numbers(key)!.map((has) => (has ? 'sliding_attention' : 'full_attention')) }
}

export function gpt2Config(facts: ModelFacts): Config {
  const keys = new Keys(facts)
  return {
    n_embd: keys.size('embedding_length'),
    n_inner: keys.size('feed_forward_length'),
    n_layer: keys.size('block_count'),
    n_head: keys.size('attention.head_count'),
    n_positions: keys.size('context_length'),
    layer_norm_epsilon: keys.number('attention.layer_norm_epsilon'),
    activation_function: 'gelu_new',
  }
}

export function gptNeoxConfig(facts: ModelFacts): Config {
  const keys = new Keys(facts)
  const [hidden, heads, turned] = [keys.size('embedding_length'), keys.size('attention.head_count'), keys.size('rope.dimension_count')]
  return {
    hidden_size: hidden,
    intermediate_size: keys.size('feed_forward_length'),
    num_hidden_layers: keys.size('block_count'),
    num_attention_heads: heads,
    max_position_embeddings: keys.size('context_length'),
    layer_norm_eps: keys.number('attention.layer_norm_epsilon'),
    hidden_act: 'gelu',
    rotary_pct: hidden && heads && turned ? turned / (hidden / heads) : undefined,
    rotary_emb_base: keys.number('rope.freq_base'),
    use_parallel_residual: keys.flag('use_parallel_residual') ?? true,
  }
}
