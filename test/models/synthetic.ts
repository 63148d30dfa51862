import type { WeightRef } from '../../src/graph/weights.js'

/** A Llama of two layers that needs no files: names and shapes only. */
export const decoderConfig: Record<string, unknown> = {
  model_type: 'llama',
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 32,
}

const LAYER: Record<string, number[]> = {
  'input_layernorm.weight': [16],
  'self_attn.q_proj.weight': [16, 16],
  'self_attn.k_proj.weight': [8, 16],
  'self_attn.v_proj.weight': [8, 16],
  'self_attn.o_proj.weight': [16, 16],
  'self_attn.rotary_emb.inv_freq': [2],
  'post_attention_layernorm.weight': [16],
  'mlp.gate_proj.weight': [24, 16],
  'mlp.up_proj.weight': [24, 16],
  'mlp.down_proj.weight': [16, 24],
}

export function decoderWeights(): Map<string, WeightRef> {
  const shapes: [string, number[]][] = [
    ['model.embed_tokens.weight', [32, 16]],
    ...[0, 1].flatMap((n) => Object.entries(LAYER).map(([name, shape]): [string, number[]] => [`model.layers.${n}.${name}`, shape])),
    ['model.norm.weight', [16]],
    ['lm_head.weight', [32, 16]],
  ]
  let offset = 4096
  return new Map(
    shapes.map(([name, shape]) => {
      const length = 2 * shape.reduce((size, dim) => size * dim, 1)
      offset += length
      return [name, { dtype: 'BF16', shape, location: 'model.safetensors', offset: offset - length, length }]
    }),
  )
}
