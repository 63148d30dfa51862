import { decodePacked } from '../../src/asset/convert/packed/decode.js'
import type { PackedType } from '../../src/sources/gguf/types.js'
import { randomOf } from '../random.js'
import { type FileTensor, floats, gguf, packed, TYPES, value } from './gguf-files.js'

const [WIDTH, INNER, VOCAB, HEADS, KV_HEADS] = [256, 512, 64, 4, 2]
const SPECIAL = ['<unk>', '<s>', '</s>']
const LETTERS = [...'▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,!?0123456789'].slice(0, VOCAB - SPECIAL.length - 2)

const TOKENIZERS = {
  llama: {
    'tokenizer.ggml.model': value.text('llama'),
    'tokenizer.ggml.tokens': value.texts([...SPECIAL, ...LETTERS, '▁a', 'ab']),
    'tokenizer.ggml.scores': value.f32s([...SPECIAL, ...LETTERS].map(() => -10).concat(-1, -2)),
    'tokenizer.ggml.token_type': value.i32s([2, 3, 3, ...LETTERS.map(() => 1), 1, 1]),
    'tokenizer.ggml.bos_token_id': value.u32(1),
    'tokenizer.ggml.eos_token_id': value.u32(2),
    'tokenizer.chat_template': value.text('{{ messages[0].content }}'),
  },
  gpt2: {
    'tokenizer.ggml.model': value.text('gpt2'),
    'tokenizer.ggml.pre': value.text('gpt-2'),
    'tokenizer.ggml.tokens': value.texts([...SPECIAL, ...LETTERS, 'Ġa', 'ab']),
    'tokenizer.ggml.merges': value.texts(['a b']),
    'tokenizer.ggml.token_type': value.i32s([3, 3, 3, ...LETTERS.map(() => 1), 1, 1]),
    'tokenizer.ggml.eos_token_id': value.u32(2),
  },
}

/** Names and dimensions of the matrices of one layer, and the sizes of its vectors. */
const LAYERS = {
  llama: {
    matrices: {
      attn_q: [WIDTH, WIDTH],
      attn_k: [WIDTH, (WIDTH / HEADS) * KV_HEADS],
      attn_v: [WIDTH, (WIDTH / HEADS) * KV_HEADS],
      attn_output: [WIDTH, WIDTH],
      ffn_gate: [WIDTH, INNER],
      ffn_up: [WIDTH, INNER],
      ffn_down: [INNER, WIDTH],
    },
    vectors: { 'attn_norm.weight': WIDTH, 'ffn_norm.weight': WIDTH },
  },
  gpt2: {
    matrices: { attn_qkv: [WIDTH, 3 * WIDTH], attn_output: [WIDTH, WIDTH], ffn_up: [WIDTH, INNER], ffn_down: [INNER, WIDTH] },
    vectors: {
      'attn_norm.weight': WIDTH,
      'attn_norm.bias': WIDTH,
      'ffn_norm.weight': WIDTH,
      'ffn_norm.bias': WIDTH,
      'attn_qkv.bias': 3 * WIDTH,
      'attn_output.bias': WIDTH,
      'ffn_up.bias': INNER,
      'ffn_down.bias': WIDTH,
    },
  },
}

/**
 * A GGUF file of a model with one layer whose matrices are all of one type, with weights at random, the same each time; as F32
 * of `of`, what these packed weights stand for.
 */
export function smallModel(type: PackedType | 'F32', architecture: 'llama' | 'gpt2' = 'llama', of?: PackedType): Buffer {
  const random = randomOf(7)
  const uniform = (count: number, around: number) => floats(Array.from({ length: count }, () => around + (random(2001) - 1000) / 10_000))
  const matrix = (name: string, [inputs, rows]: readonly number[]): FileTensor => {
    const [elements, stored] = [inputs! * rows!, type === 'F32' ? of : type]
    const bytes = stored ? packed(stored, elements, random, 2 ** -8) : uniform(elements, 0)
    const data = type === 'F32' && stored ? decoded(stored, bytes, elements) : bytes
    return { name, dims: [inputs!, rows!], type: TYPES[type], data }
  }
  const vector = (name: string, size: number): FileTensor => ({
    name,
    dims: [size],
    data: uniform(size, name.endsWith('norm.weight') ? 1 : 0),
  })
  const { matrices, vectors } = LAYERS[architecture]
  const isGpt = architecture === 'gpt2'
  const tensors = [
    matrix('token_embd.weight', [WIDTH, VOCAB]),
    ...(isGpt ? [matrix('position_embd.weight', [WIDTH, 128]), vector('output_norm.bias', WIDTH)] : []),
    vector('output_norm.weight', WIDTH),
    matrix('output.weight', [WIDTH, VOCAB]),
    ...Object.entries(matrices).map(([name, dims]) => matrix(`blk.0.${name}.weight`, dims)),
    ...Object.entries(vectors).map(([name, size]) => vector(`blk.0.${name}`, size)),
  ]
  const sizes = { context_length: 128, embedding_length: WIDTH, block_count: 1, feed_forward_length: INNER, 'attention.head_count': HEADS }
  const own = Object.entries(sizes).map(([key, size]) => [`${architecture}.${key}`, value.u32(size)] as const)
  const keys = {
    'general.architecture': value.text(architecture),
    ...Object.fromEntries(own),
    ...(isGpt
      ? { 'gpt2.attention.layer_norm_epsilon': value.f32(1e-5) }
      : { 'llama.attention.head_count_kv': value.u32(KV_HEADS), 'llama.attention.layer_norm_rms_epsilon': value.f32(1e-5) }),
    ...TOKENIZERS[architecture],
  }
  return gguf({ keys, tensors })
}

function decoded(type: PackedType, bytes: Uint8Array, elements: number): Uint8Array {
  const numbers = new Float32Array(elements)
  decodePacked(type, bytes, elements, numbers)
  return new Uint8Array(numbers.buffer)
}
