/** A variant of an architecture: what scripts/variant-goldens.py makes of it. */
export interface Variant {
  readonly name: string
  readonly kind: 'CausalLM' | 'Encoder' | 'Seq2SeqLM' | 'ImageClassification'
  readonly config: Readonly<Record<string, unknown>>
  readonly ids?: readonly (readonly number[])[]
  readonly mask?: readonly (readonly number[])[]
  readonly decoder_ids?: readonly (readonly number[])[]
  readonly pixels?: readonly number[]
  readonly generate?: number
  /** the native engine doesn't know all of it */
  readonly mixed?: boolean
  /** also saved as the live module has it, in the folder `live` */
  readonly live?: boolean
}

const SIZES = {
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 96,
  max_position_embeddings: 64,
}

/** Token ids that look random, the same ones each time. */
function idsOf(rows: number, length: number): number[][] {
  return Array.from({ length: rows }, (_, row) => Array.from({ length }, (_, at) => 3 + ((row * 31 + at * at * 7 + at * 13) % 90)))
}

function decoder(name: string, model_type: string, config: Record<string, unknown>, length = 11): Variant {
  const unpadded = { pad_token_id: 0, bos_token_id: 1, eos_token_id: 2 }
  return { name, kind: 'CausalLM', config: { model_type, ...SIZES, ...unpadded, ...config }, ids: idsOf(2, length), generate: 16 }
}

function mixture(name: string, model_type: string, config: Record<string, unknown>): Variant {
  return { ...decoder(name, model_type, config), mixed: 'clip_qkv' in config, live: true }
}

function t5(name: string, config: Record<string, unknown>, length = 11, rest: Partial<Variant> = {}): Variant {
  const sizes = { d_model: 32, d_kv: 12, d_ff: 48, num_layers: 2, num_heads: 4, vocab_size: 96 }
  const unpadded = { pad_token_id: 0, eos_token_id: 1, decoder_start_token_id: 0 }
  const ids = { ids: idsOf(2, length), decoder_ids: idsOf(2, 7).map((row) => row.reverse()) }
  return {
    name,
    kind: 'Seq2SeqLM',
    config: { model_type: 't5', ...sizes, ...unpadded, ...config },
    ...ids,
    generate: 16,
    mixed: true,
    ...rest,
  }
}

// LongRoPE up to 16 tokens with one set of factors, and then with another one.
const LONG = {
  original_max_position_embeddings: 16,
  rope_parameters: { rope_type: 'longrope', rope_theta: 10000, short_factor: [1, 1.1, 1.3, 1.7], long_factor: [1, 2.5, 4, 9] },
}

export const VARIANTS: readonly Variant[] = [
  decoder('smollm3 with windows where nothing is turned', 'smollm3', {
    no_rope_layers: [1, 0, 1],
    use_sliding_window: true,
    sliding_window: 4,
    attention_bias: true,
    mlp_bias: true,
  }),
  decoder('phi3 with heads turned in part', 'phi3', {
    rope_parameters: { rope_type: 'default', rope_theta: 10000, partial_rotary_factor: 0.75 },
  }),
  decoder('phi3 with a window', 'phi3', { sliding_window: 4 }),
  decoder('phi3 that grows beyond its first length', 'phi3', LONG),
  decoder('phi3 beyond its first length from the start', 'phi3', LONG, 20),
  decoder('gemma2 with a window, caps that are felt, another scale and an output head of its own', 'gemma2', {
    head_dim: 16,
    query_pre_attn_scalar: 24,
    sliding_window: 4,
    attn_logit_softcapping: 2.5,
    final_logit_softcapping: 3.5,
    tie_word_embeddings: false,
    attention_bias: true,
  }),
  decoder('gemma2 without caps', 'gemma2', { head_dim: 8, attn_logit_softcapping: null, final_logit_softcapping: null }),
  decoder('gemma3 with both kinds of layers, two bases, one of them stretched', 'gemma3_text', {
    head_dim: 8,
    query_pre_attn_scalar: 8,
    sliding_window: 4,
    layer_types: ['sliding_attention', 'full_attention', 'sliding_attention'],
    rope_parameters: {
      full_attention: { rope_type: 'linear', factor: 4, rope_theta: 1000 },
      sliding_attention: { rope_type: 'default', rope_theta: 100 },
    },
  }),
  decoder('gemma3 by its pattern, logits capped', 'gemma3_text', {
    head_dim: 8,
    sliding_window: 3,
    sliding_window_pattern: 2,
    final_logit_softcapping: 2.5,
  }),
  decoder('gpt_neox with one after the other, more of a head turned, no biases of attention', 'gpt_neox', {
    use_parallel_residual: false,
    attention_bias: false,
    rope_parameters: { rope_type: 'default', rope_theta: 500, partial_rotary_factor: 0.5 },
  }),
  decoder('gpt_neox with its embedding as output head', 'gpt_neox', { tie_word_embeddings: true, hidden_act: 'gelu_new' }),
  mixture('mixtral with a window and more experts for a token', 'mixtral', {
    num_local_experts: 5,
    num_experts_per_tok: 3,
    sliding_window: 4,
  }),
  mixture('qwen3_moe with windows, biases, layers without experts and weights that have no sum', 'qwen3_moe', {
    head_dim: 8,
    num_experts: 6,
    num_experts_per_tok: 3,
    moe_intermediate_size: 20,
    norm_topk_prob: false,
    mlp_only_layers: [1],
    use_sliding_window: true,
    sliding_window: 4,
    attention_bias: true,
  }),
  mixture('qwen3_moe with experts in every second layer', 'qwen3_moe', {
    head_dim: 16,
    num_experts: 4,
    num_experts_per_tok: 1,
    moe_intermediate_size: 24,
    decoder_sparse_step: 2,
    norm_topk_prob: true,
  }),
  mixture('olmoe with values that are clipped and weights of a sum', 'olmoe', {
    num_experts: 6,
    num_experts_per_tok: 2,
    clip_qkv: 0.7,
    norm_topk_prob: true,
  }),
  {
    name: 'roberta with padding before, between and after',
    kind: 'Encoder',
    config: { model_type: 'roberta', ...SIZES, type_vocab_size: 1, pad_token_id: 1 },
    ids: [
      [1, 1, 5, 9, 1, 23, 4, 1],
      [7, 8, 9, 10, 11, 12, 1, 1],
    ],
    mask: [
      [0, 0, 1, 1, 0, 1, 1, 0],
      [1, 1, 1, 1, 1, 1, 0, 0],
    ],
  },
  t5('t5 as it was first, its embedding as output head', { feed_forward_proj: 'relu' }),
  t5('t5 v1.1, with an output head of its own', { feed_forward_proj: 'gated-gelu', tie_word_embeddings: false }),
  t5('t5 of texts longer than its farthest distance', { feed_forward_proj: 'gated-silu' }, 150, { decoder_ids: idsOf(2, 140) }),
  t5('t5 with few buckets', { relative_attention_num_buckets: 8, relative_attention_max_distance: 21 }, 40, { decoder_ids: idsOf(2, 33) }),
  t5('t5 with padding before, between and after, its decoder of fewer layers', { num_layers: 3, num_decoder_layers: 2 }, 8, {
    mask: [
      [0, 0, 1, 1, 0, 1, 1, 1],
      [1, 1, 1, 1, 1, 1, 0, 0],
    ],
  }),
  {
    name: 'vit without biases of attention, of images that are no whole patches',
    kind: 'ImageClassification',
    config: { model_type: 'vit', ...SIZES, image_size: 22, patch_size: 5, num_channels: 2, qkv_bias: false, num_labels: 4 },
    pixels: [3, 2, 22, 22],
    mixed: true,
  },
]
