import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { type MadeUp, writeCheckpoint } from './synthetic.js'

/** A Qwen3 with experts: every size in elements. */
export interface Mixture {
  readonly hidden: number
  readonly layers: number
  readonly vocab: number
  readonly heads: number
  readonly kvHeads: number
  readonly experts: number
  readonly perToken: number
  /** width of an expert */
  readonly inner: number
}

/** The layers of Qwen3-30B-A3B, six of its 48, with a smaller vocabulary: 3.9 billion parameters. */
export const QWEN3_30B_LAYERS: Mixture = {
  hidden: 2048,
  layers: 6,
  vocab: 32_768,
  heads: 32,
  kvHeads: 4,
  experts: 128,
  perToken: 8,
  inner: 768,
}

/** Large enough to show that a bench runs: 60 million parameters. */
export const SMALL: Mixture = { hidden: 512, layers: 4, vocab: 2048, heads: 8, kvHeads: 2, experts: 32, perToken: 4, inner: 256 }

const HEAD_DIM = 128
// The n-th most wanted expert is sent about (1 / n) ** SKEW as many tokens as the first, before what a token itself adds.
const SKEW = 1
// What a token adds to that spreads by about so much, in the same logarithm.
const SPREAD = 1.5

/**
 * Writes random weights whose router is skewed: element 0 of every embedding is large, so that it is in every layer, and what
 * the router makes of it says how wanted an expert is; the rest depends on the token. Who is wanted differs by layer.
 */
export async function writeMixture(folder: string, shape: Mixture): Promise<void> {
  const { hidden, layers, vocab, heads, kvHeads, experts, perToken, inner } = shape
  const config = {
    model_type: 'qwen3_moe',
    hidden_size: hidden,
    intermediate_size: inner,
    moe_intermediate_size: inner,
    num_experts: experts,
    num_experts_per_tok: perToken,
    norm_topk_prob: true,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    head_dim: HEAD_DIM,
    vocab_size: vocab,
    rms_norm_eps: 1e-6,
    max_position_embeddings: 2048,
    tie_word_embeddings: false,
  }
  await writeCheckpoint(folder, tensorsOf(shape), config)
  // As large as all other elements of a row together, which are 1.5 on the average.
  const large = 1.5 * Math.sqrt(hidden)
  await patch(folder, 'model.embed_tokens.weight', () => large)
  const seen = Math.sqrt(hidden / 2)
  for (let layer = 0; layer < layers; layer++)
    await patch(folder, `model.layers.${layer}.mlp.gate.weight`, (expert) => {
      const place = 1 + ((expert * 37 + layer * 11) % experts)
      return (-SKEW * Math.log(place)) / seen
    })
}

function tensorsOf({ hidden, layers, vocab, heads, kvHeads, experts, inner }: Mixture): MadeUp[] {
  const tensors: MadeUp[] = [
    { name: 'model.embed_tokens.weight', dims: [vocab, hidden], exponent: 0 },
    { name: 'model.norm.weight', dims: [hidden] },
    { name: 'lm_head.weight', dims: [vocab, hidden], exponent: -6 },
  ]
  for (let layer = 0; layer < layers; layer++) {
    const at = `model.layers.${layer}`
    const matrix = (name: string, rows: number, width: number, exponent = -6) =>
      tensors.push({ name: `${at}.${name}.weight`, dims: [rows, width], exponent })
    for (const [name, width] of [
      ['input_layernorm', hidden],
      ['post_attention_layernorm', hidden],
      ['self_attn.q_norm', HEAD_DIM],
      ['self_attn.k_norm', HEAD_DIM],
    ] as const)
      tensors.push({ name: `${at}.${name}.weight`, dims: [width] })
    matrix('self_attn.q_proj', heads * HEAD_DIM, hidden)
    matrix('self_attn.k_proj', kvHeads * HEAD_DIM, hidden)
    matrix('self_attn.v_proj', kvHeads * HEAD_DIM, hidden)
    matrix('self_attn.o_proj', hidden, heads * HEAD_DIM)
    // Half of a row's square is its element 0; the others are 1.5 times their power of two on the average.
    matrix('mlp.gate', experts, hidden, Math.round(Math.log2((SPREAD * Math.SQRT2) / Math.sqrt(hidden) / 1.5)))
    for (let expert = 0; expert < experts; expert++) {
      matrix(`mlp.experts.${expert}.gate_proj`, inner, hidden)
      matrix(`mlp.experts.${expert}.up_proj`, inner, hidden)
      matrix(`mlp.experts.${expert}.down_proj`, hidden, inner)
    }
  }
  return tensors
}

/** Sets element 0 of each row of a matrix of the checkpoint. */
async function patch(folder: string, name: string, first: (row: number) => number): Promise<void> {
  const path = join(folder, 'model.safetensors')
  const handle = await open(path, 'r+')
  const length = Number((await handle.read(Buffer.alloc(8), 0, 8, 0)).buffer.readBigUInt64LE(0))
  const { buffer } = await handle.read(Buffer.alloc(length), 0, length, 8)
  const { shape, data_offsets: at } = JSON.parse(buffer.toString('utf8'))[name] as {
    shape: [number, number]
    data_offsets: [number, number]
  }
  const float = new Float32Array(1)
  const bytes = new Uint8Array(float.buffer)
  for (let row = 0; row < shape[0]; row++) {
    float[0] = first(row)
    await handle.write(bytes.subarray(2), 0, 2, 8 + length + at[0] + row * shape[1] * 2)
  }
  await handle.close()
}
