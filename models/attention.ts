import type { Attributes } from '../src/graph/attributes.js'
import type { Module, Value } from '../src/graph/build.js'

/** Sizes of an attention: heads of the queries, heads of keys and values (a divisor of it), and the width of a head. */
export interface Heads {
  readonly heads: number
  readonly kvHeads: number
  readonly headDim: number
  readonly scale: number
  /** scores become cap * tanh(score / cap), before they are masked */
  readonly attentionCap?: number | undefined
}

/** The inputs that every decoder has. */
export interface DecoderInputs {
  readonly ids: Value
  readonly mask: Value
  readonly positions: Value
}

export function decoderInputs(root: Module): DecoderInputs {
  return {
    ids: root.graph.input('input_ids', 'I64', ['batch', 'sequence']),
    mask: root.graph.input('attention_mask', 'I64', ['batch', 'total_sequence']),
    positions: root.graph.input('position_ids', 'I64', ['batch', 'sequence']),
  }
}

/** Which key each query may see, BOOL (batch, 1, sequence, total_sequence), once for all layers of a kind. */
export class CausalMask {
  readonly keys: Value // (1, total)
  readonly queries: Value // (sequence, 1): where each query stands among the keys
  private readonly present: Value // (batch, 1, 1, total)
  private readonly made = new Map<number | undefined, Value>()

  /** `ids` (batch, sequence) are the last of the tokens that `mask` (batch, total_sequence) speaks of: 1 for a token, 0 for padding. */
  constructor(
    private readonly module: Module,
    { ids, mask }: Pick<DecoderInputs, 'ids' | 'mask'>,
  ) {
    const total = module.op('Shape', [mask], { start: 1n, end: 2n }, { dims: [1] })
    const sequence = module.op('Shape', [ids], { start: 1n, end: 2n }, { dims: [1] })
    const length = module.op('Squeeze', [total], {}, { dims: [] })
    const all = module.op('Range', [module.integer(0), length, module.integer(1)], {}, { dims: ['total_sequence'] })
    const past = module.op('Sub', [total, sequence])
    const last = module.op('Slice', [all, past, total], {}, { dims: ['sequence'] })
    this.keys = module.op('Unsqueeze', [all, module.integers(0)], {}, { dims: [1, 'total_sequence'] })
    this.queries = module.op('Unsqueeze', [last, module.integers(1)], {}, { dims: ['sequence', 1] })
    const real = module.cast(mask, 'BOOL')
    this.present = module.op('Unsqueeze', [real, module.integers(1, 2)], {}, { dims: ['batch', 1, 1, 'total_sequence'] })
  }

  /**
   * The mask: a query sees itself, and of the real tokens before it the last `window` - 1 (all of them without a window).
   * Causality is in the mask, not in `is_causal`, whose alignment with a past the standard leaves open; and since padding
   * sees itself no row is empty, so its softmax is finite and cannot spoil real rows through 0 * NaN.
   */
  of(window: number | undefined): Value {
    const known = this.made.get(window)
    if (known) return known
    const { module } = this
    const square = { dtype: 'BOOL', dims: ['sequence', 'total_sequence'] } as const
    let seen = module.op('LessOrEqual', [this.keys, this.queries], {}, square)
    if (window !== undefined) {
      const first = module.op('Sub', [this.queries, module.integer(window)])
      seen = module.op('And', [seen, module.op('Greater', [this.keys, first], {}, square)])
    }
    const whole = { dims: ['batch', 1, 'sequence', 'total_sequence'] } as const
    const real = module.op('And', [seen, this.present], {}, whole)
    const mask = module.op('Or', [real, module.op('Equal', [this.keys, this.queries], {}, square)], {}, whole)
    this.made.set(window, mask)
    return mask
  }
}

/**
 * Attention of decoder layer `index` over its cache; q (batch, sequence, heads * head_dim), k and v (batch, sequence,
 * kv_heads * head_dim) -> (batch, sequence, heads * head_dim); the mask says what is seen, or is added to the scores. Adds the
 * graph's inputs and outputs of this layer's cache.
 */
export function cachedAttention(
  module: Module,
  index: number,
  [q, k, v]: readonly [Value, Value, Value],
  mask: Value,
  sizes: Heads,
): Value {
  const { graph } = module
  const { kvHeads, headDim } = sizes
  const past = ['key', 'value'].map((part) =>
    graph.input(`past_key_values.${index}.${part}`, 'F32', ['batch', kvHeads, 'past_sequence', headDim]),
  )
  const dims = ['batch', kvHeads, 'total_sequence', headDim]
  const present = ['key', 'value'].map((part) => ({ name: `present.${index}.${part}`, dims }))
  const [y, ...cache] = module.ops('Attention', [q, k, v, mask, ...past], attentionAttributes(sizes), [{}, ...present])
  for (const value of cache) graph.output(value)
  return y!
}

/**
 * Attention without a cache: q (batch, queries, hidden), k and v (batch, keys, hidden) -> (batch, queries, hidden). The mask says what
 * is seen, BOOL (batch, 1, queries, keys), or is added to the scores, F32 (batch, heads, queries, keys); undefined where all see all.
 */
export function attention(module: Module, q: Value, k: Value, v: Value, mask: Value | undefined, sizes: Heads): Value {
  return module.op('Attention', mask ? [q, k, v, mask] : [q, k, v], attentionAttributes(sizes))
}

function attentionAttributes({ heads, kvHeads, scale, attentionCap }: Heads): Attributes {
  return { q_num_heads: BigInt(heads), kv_num_heads: BigInt(kvHeads), scale, ...(attentionCap !== undefined && { softcap: attentionCap }) }
}
