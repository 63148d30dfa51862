import type { temporary } from '../sources/files.js'
import { safetensors } from '../sources/files.js'

/** Rows of the embedding and of the output head, which are two tables of 4 MiB. */
export const VOCABULARY = 8192
const HIDDEN = 256
const INNER = 4096

const LAYER: Record<string, number[]> = {
  'input_layernorm.weight': [HIDDEN],
  'self_attn.q_proj.weight': [HIDDEN, HIDDEN],
  'self_attn.k_proj.weight': [128, HIDDEN],
  'self_attn.v_proj.weight': [128, HIDDEN],
  'self_attn.o_proj.weight': [HIDDEN, HIDDEN],
  'post_attention_layernorm.weight': [HIDDEN],
  'mlp.gate_proj.weight': [INNER, HIDDEN],
  'mlp.up_proj.weight': [INNER, HIDDEN],
  'mlp.down_proj.weight': [HIDDEN, INNER],
}

/** Writes a Llama of two layers with weights of BF16 that look random, 20 MiB of them, and an output head of its own; the same ones each time. */
export async function writeUntied(folder: Awaited<ReturnType<typeof temporary>>, name: string): Promise<string> {
  const shapes: [string, number[]][] = [
    ['model.embed_tokens.weight', [VOCABULARY, HIDDEN]],
    ...[0, 1].flatMap((n) => Object.entries(LAYER).map(([key, dims]): [string, number[]] => [`model.layers.${n}.${key}`, dims])),
    ['model.norm.weight', [HIDDEN]],
    ['lm_head.weight', [VOCABULARY, HIDDEN]],
  ]
  let end = 0
  const header = Object.fromEntries(
    shapes.map(([key, shape]) => {
      const start = end
      end += 2 * shape.reduce((size, dim) => size * dim, 1)
      return [key, { dtype: 'BF16', shape, data_offsets: [start, end] }]
    }),
  )
  const data = new Uint16Array(end / 2)
  let state = 1
  for (let at = 0; at < data.length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    // Sign and mantissa as they come, an exponent of 2^-5: of about the size of real weights.
    data[at] = ((state >>> 16) & 0x807f) | (122 << 7)
  }
  await folder.write(`${name}/model.safetensors`, safetensors(header, new Uint8Array(data.buffer)))
  const config = {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_size: HIDDEN,
    intermediate_size: INNER,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 64,
    vocab_size: VOCABULARY,
    max_position_embeddings: 512,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    hidden_act: 'silu',
    tie_word_embeddings: false,
    torch_dtype: 'bfloat16',
    bos_token_id: 1,
    eos_token_id: 2,
  }
  await folder.write(`${name}/config.json`, JSON.stringify(config))
  return `${folder.path}/${name}`
}
