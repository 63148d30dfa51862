import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { fragment, inspect, type WeightDtype } from '../../src/api/index.js'
import { openCheckpoint } from '../../src/sources/open.js'
import { Tokenizer } from '../../src/text/tokenizer.js'
import { sharedModel } from '../shared.js'
import { temporary } from './files.js'
import { floats, gguf, META, TYPES, value } from './gguf-files.js'
import { smallModel } from './gguf-models.js'

/** What a file of these keys and tensors is as a checkpoint, its made files parsed. */
async function opened(keys: Record<string, Uint8Array>, tensors: Parameters<typeof gguf>[0]['tensors'] = []) {
  await using folder = await temporary()
  const checkpoint = await openCheckpoint(await folder.write('w.gguf', gguf({ keys, tensors })))
  const json = (path: string) => JSON.parse(Buffer.from(checkpoint.made!.get(path)!).toString())
  return { ...checkpoint, json }
}

const named = (architecture: string, keys: Record<string, Uint8Array> = {}) => ({
  'general.architecture': value.text(architecture),
  ...Object.fromEntries(Object.entries(keys).map(([key, of]) => [key.startsWith('tokenizer') ? key : `${architecture}.${key}`, of])),
})
const SIZES = {
  embedding_length: value.u32(64),
  block_count: value.u32(1),
  'attention.head_count': value.u32(4),
  'attention.head_count_kv': value.u32(2),
}

describe('a GGUF file as the checkpoint of transformers', () => {
  const shared = sharedModel('stories260k-gguf')
  it.runIf(shared)('of stories260k: the fragments, the vocabulary and the config of the checkpoint that it was made of', async () => {
    await using folder = await temporary()
    const [mine, theirs] = [`${folder.path}/gguf`, `${folder.path}/hf`]
    await fragment(`${shared}/stories260k-f32.gguf`, { out: mine })
    await fragment(sharedModel('stories260k')!, { out: theirs })
    const parts = async (asset: string) => (await inspect(asset)).modules.map(({ key, cid }) => [key, cid])
    expect(await parts(mine)).toEqual(await parts(theirs))
    const json = async (path: string) => JSON.parse(await readFile(path, 'utf8'))
    const [config, original] = [await json(`${mine}/config.json`), await json(`${theirs}/config.json`)]
    for (const key of ['architectures', 'model_type', 'hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads'])
      expect([key, config[key]]).toEqual([key, original[key]])
    for (const key of [
      'num_key_value_heads',
      'head_dim',
      'rms_norm_eps',
      'vocab_size',
      'tie_word_embeddings',
      'bos_token_id',
      'eos_token_id',
    ])
      expect([key, config[key]]).toEqual([key, original[key]])
    const [made, given] = [await json(`${mine}/tokenizer.json`), await json(`${theirs}/tokenizer.json`)]
    expect(made.model.vocab).toEqual(given.model.vocab)
    expect(made.added_tokens).toEqual(given.added_tokens)
    const [ours, other] = [made, given].map((tokenizer) => new Tokenizer(tokenizer, {}))
    for (const text of ['Once upon a time', ' two  spaces', 'Tom saw\na “café” 漢字 🙂.', '', 'x'])
      expect(ours!.encode(text)).toEqual(other!.encode(text))
    expect(ours!.decode(ours!.encode('She said, “Hi.”'))).toBe('She said, “Hi.”')
  })

  it('has queries and keys of Llama in the order of their halves, biases too, and those of Qwen as they are', async () => {
    // 4 heads of 4 rows, 2 of them for keys; row n holds n
    const rows = (count: number) => floats(Array.from({ length: count * 2 }, (_, i) => i >> 1))
    const tensors = [
      { name: 'blk.0.attn_q.weight', dims: [2, 16], data: rows(16) },
      { name: 'blk.0.attn_k.weight', dims: [2, 8], data: rows(8) },
      { name: 'blk.0.attn_v.weight', dims: [2, 8], data: rows(8) },
      { name: 'blk.0.attn_q.bias', dims: [16], data: floats(Array.from({ length: 16 }, (_, i) => i)) },
    ]
    const order = async (architecture: string, name: string) => {
      await using folder = await temporary()
      const file = await folder.write('w.gguf', gguf({ keys: named(architecture, SIZES), tensors }))
      await fragment(file, { out: `${folder.path}/a` })
      const held = await openCheckpoint(`${folder.path}/a/modules/model/layers/0/self_attn/${name.split('.')[0]}.safetensors`)
      const { offset, length, shape, file: source } = held.tensors.get(`model.layers.0.self_attn.${name}`)!
      const bytes = (await readFile(source.path)).subarray(offset, offset + length)
      const numbers = new Float32Array(new Uint8Array(bytes).buffer)
      return shape.length === 1 ? [...numbers] : [...numbers].filter((_, i) => i % 2 === 0)
    }
    const turned = [0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15]
    const plain = Array.from({ length: 16 }, (_, i) => i)
    expect(await order('llama', 'q_proj.weight')).toEqual(turned)
    expect(await order('llama', 'q_proj.bias')).toEqual(turned)
    expect(await order('llama', 'k_proj.weight')).toEqual(turned.slice(0, 8))
    expect(await order('llama', 'v_proj.weight')).toEqual(plain.slice(0, 8))
    expect(await order('qwen2', 'q_proj.weight')).toEqual(plain)
  })

  it('has the matrices of GPT-2 turned, those of GPT-NeoX sorted by head, and the norms of Gemma around 0', async () => {
    await using folder = await temporary()
    const numbers = async (architecture: string, name: string, dims: number[], path: string) => {
      const data = floats(Array.from({ length: dims.reduce((a, b) => a * b) }, (_, i) => i))
      const file = await folder.write('w.gguf', gguf({ keys: named(architecture, SIZES), tensors: [{ name, dims, data }] }))
      await fragment(file, { out: `${folder.path}/${architecture}` })
      const held = await openCheckpoint(`${folder.path}/${architecture}/modules/${path}.safetensors`)
      const { offset, length, shape } = [...held.tensors.values()][0]!
      const bytes = await readFile(`${folder.path}/${architecture}/modules/${path}.safetensors`)
      return { shape, numbers: [...new Float32Array(new Uint8Array(bytes.subarray(offset, offset + length)).buffer)] }
    }
    expect(await numbers('gpt2', 'blk.0.ffn_up.weight', [2, 3], 'transformer/h/0/mlp/c_fc')).toEqual({
      shape: [2, 3],
      numbers: [0, 2, 4, 1, 3, 5],
    })
    // 4 heads of 1 row: queries of all heads, keys of all, values of all
    expect(await numbers('gptneox', 'blk.0.attn_qkv.weight', [1, 12], 'gpt_neox/layers/0/attention/query_key_value')).toEqual({
      shape: [12, 1],
      numbers: [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11],
    })
    expect(await numbers('gemma2', 'blk.0.ffn_norm.weight', [3], 'model/layers/0/pre_feedforward_layernorm')).toEqual({
      shape: [3],
      numbers: [-1, 0, 1],
    })
  })

  it('says in config.json how positions are stretched', async () => {
    const config = async (architecture: string, keys: Record<string, Uint8Array>, tensors: Parameters<typeof gguf>[0]['tensors'] = []) =>
      (await opened(named(architecture, { ...SIZES, ...keys }), tensors)).json('config.json')
    const linear = { 'rope.scaling.type': value.text('linear'), 'rope.scaling.factor': value.f32(8), 'rope.freq_base': value.f32(1e6) }
    expect(await config('gemma3', linear)).toMatchObject({ rope_theta: 1e6, rope_scaling: { rope_type: 'linear', factor: 8 } })
    const pattern = { 'attention.sliding_window_pattern': value.list(META.bool, [Buffer.from([1, 0])], 2) }
    expect(await config('gemma3', pattern)).toMatchObject({ layer_types: ['sliding_attention', 'full_attention'] })
    expect(await config('gemma3', { 'attention.sliding_window_pattern': value.u32(4) })).toMatchObject({ sliding_window_pattern: 4 })
    expect(await config('qwen2', { 'rope.scaling.type': value.text('yarn'), 'rope.scaling.factor': value.f32(4) })).toMatchObject({
      rope_scaling: { rope_type: 'yarn', factor: 4 },
    })
    const factors = (name: string, of: number[]) => ({ name, dims: [of.length], data: floats(of) })
    const phi = [factors('rope_factors_short.weight', [1, 1.5]), factors('rope_factors_long.weight', [2, 4])]
    const original = { 'rope.scaling.original_context_length': value.u32(4096), 'attention.sliding_window': value.u32(0) }
    expect(await config('phi3', original, phi)).toMatchObject({
      original_max_position_embeddings: 4096,
      sliding_window: null,
      rope_scaling: { rope_type: 'longrope', short_factor: [1, 1.5], long_factor: [2, 4] },
    })
    // Llama 3.2 1B: heads of 64, a base of 500,000, a factor of 32
    const llama3 = Array.from({ length: 32 }, (_, n) => {
      const wavelength = 2 * Math.PI * 500000 ** (n / 32)
      const smooth = (8192 / wavelength - 1) / 3
      return wavelength < 2048 ? 1 : wavelength > 8192 ? 32 : 1 / ((1 - smooth) / 32 + smooth)
    })
    const base = { 'rope.freq_base': value.f32(500000) }
    expect((await config('llama', base, [factors('rope_freqs.weight', llama3)])).rope_scaling).toEqual({
      rope_type: 'llama3',
      factor: 32,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    })
    expect((await config('llama', base, [factors('rope_freqs.weight', [1, 3, 2])])).rope_scaling).toEqual({
      rope_type: 'longrope',
      short_factor: [1, 3, 2],
      long_factor: [1, 3, 2],
      attention_factor: 1,
    })
  })

  it('has the tokens that end a turn among those that end a text, and the chat template', async () => {
    const keys = {
      'tokenizer.ggml.model': value.text('llama'),
      'tokenizer.ggml.tokens': value.texts(['<unk>', '<s>', '</s>', '<end>']),
      'tokenizer.ggml.scores': value.f32s([0, 0, 0, 0]),
      'tokenizer.ggml.eos_token_id': value.u32(2),
      'tokenizer.ggml.eot_token_id': value.u32(3),
      'tokenizer.chat_template': value.text('{{ bos_token }}'),
    }
    const { json } = await opened(named('llama', keys))
    expect(json('generation_config.json').eos_token_id).toEqual([2, 3])
    expect(json('tokenizer_config.json')).toMatchObject({ eos_token: '</s>', chat_template: '{{ bos_token }}' })
  })

  it('of a byte-level tokenizer cuts and merges as its name says; one that is not known is left out, and that is said', async () => {
    const tokens = ['a', 'b', '1', '2', 'ab', 'Ġ', 'Ġab', '12', '<|end|>']
    const keys = {
      'tokenizer.ggml.model': value.text('gpt2'),
      'tokenizer.ggml.tokens': value.texts(tokens),
      'tokenizer.ggml.merges': value.texts(['a b', 'Ġ ab', '1 2']),
      'tokenizer.ggml.token_type': value.i32s([1, 1, 1, 1, 1, 1, 1, 1, 3]),
    }
    const encode = async (pre: string) => {
      const { json } = await opened(named('qwen2', { ...keys, 'tokenizer.ggml.pre': value.text(pre) }))
      const tokenizer = new Tokenizer(json('tokenizer.json'), json('tokenizer_config.json'))
      return tokenizer.encode('ab ab12<|end|>').map((id) => tokens[id])
    }
    expect(await encode('gpt-2')).toEqual(['ab', 'Ġab', '12', '<|end|>'])
    expect(await encode('llama-bpe')).toEqual(['ab', 'Ġab', '12', '<|end|>'])
    expect(await encode('qwen2')).toEqual(['ab', 'Ġab', '1', '2', '<|end|>'])
    const { made, notes } = await opened(named('qwen2', { ...keys, 'tokenizer.ggml.pre': value.text('of tomorrow') }))
    expect(made!.has('tokenizer.json')).toBe(false)
    expect(notes).toEqual([expect.stringContaining('nothing is known of how its tokenizer cuts text, "of tomorrow"')])
  })

  it.each([
    ['scores that are fewer than tokens', { 'tokenizer.ggml.scores': value.f32s([0]) }],
    ['a token twice', { 'tokenizer.ggml.tokens': value.texts(['a', 'a']) }],
    ['a token to begin with that is none', { 'tokenizer.ggml.bos_token_id': value.u32(7), 'tokenizer.ggml.eos_token_id': value.u32(9) }],
    ['kinds of tokens that are fewer', { 'tokenizer.ggml.token_type': value.i32s([1]) }],
    ['heads that differ from layer to layer', { 'llama.attention.head_count': value.i32s([4, 2]) }],
    ['an end that is a text', { 'tokenizer.ggml.eos_token_id': value.text('</s>') }],
  ])('with %s is refused', async (_, keys) => {
    const tokenizer = {
      'tokenizer.ggml.model': value.text('llama'),
      'tokenizer.ggml.tokens': value.texts(['a', 'b']),
      'tokenizer.ggml.scores': value.f32s([0, 0]),
    }
    await expect(opened({ ...named('llama', SIZES), ...tokenizer, ...keys })).rejects.toMatchObject({
      code: 'BAD_INPUT',
      message: expect.stringMatching(/^Cannot read .*: its key [\w.]+ is not .*; get it again, or convert it anew$/),
    })
  })

  it('of an architecture that is not known keeps its names, has no graph, and says so; a part of a model is refused', async () => {
    await using folder = await temporary()
    const tensors = [{ name: 'blk.0.mystery.weight', dims: [64, 2], type: TYPES.Q8_0, data: new Uint8Array(4 * 34) }]
    const file = await folder.write('w.gguf', gguf({ keys: named('of-tomorrow'), tensors }))
    const { note } = await fragment(file, { out: `${folder.path}/out` })
    expect(note).toMatch(/It has no graph.*nothing is known of the architecture "of-tomorrow"/)
    const { modules } = await inspect(`${folder.path}/out`)
    expect(modules.flatMap(({ tensors }) => tensors)).toEqual([
      { name: 'blk.0.mystery.weight_scale', dtype: 'F16', shape: [2, 2] },
      { name: 'blk.0.mystery.weight', dtype: 'I8', shape: [2, 64] },
    ])
    const part = { ...named('llama'), 'split.count': value.u32(3) }
    await expect(opened(part)).rejects.toMatchObject({ code: 'UNSUPPORTED', message: expect.stringContaining('one of 3 parts') })
  })

  it('is stored in the dtype that is asked for, and what is fine already stays', async () => {
    await using folder = await temporary()
    const dtypes = async (type: Parameters<typeof smallModel>[0], dtype: WeightDtype) => {
      const out = `${folder.path}/${type}-${dtype}`
      await fragment(await folder.write('w.gguf', smallModel(type)), { out, dtype })
      const { modules, parameters } = await inspect(out)
      const found = modules.find(({ key }) => key === 'model.layers.0.mlp.up_proj')!.tensors
      return { parameters, found: found.map(({ name, dtype }) => `${name.slice('model.layers.0.mlp.up_proj.'.length)} ${dtype}`) }
    }
    const packed = { found: ['weight_min F16', 'weight_scale F16', 'weight U8', 'weight_block_min U8', 'weight_block_scale U8'] }
    const { parameters, found } = await dtypes('Q4_K', 'keep')
    expect(found).toEqual(packed.found)
    expect(await dtypes('Q4_K', 'bf16')).toEqual({ parameters, found: ['weight BF16'] })
    expect(await dtypes('Q4_K', 'q8')).toEqual({ parameters, found: ['weight_scale F16', 'weight I8'] })
    expect(await dtypes('Q6_K', 'q4')).toEqual({ parameters, found: ['weight_scale F16', 'weight U8'] })
    const cidOf = async (type: 'Q8_0' | 'Q4_0', dtype: WeightDtype) =>
      (await inspect(`${folder.path}/${type}-${dtype}`)).modules.map(({ cid }) => cid)
    for (const [type, dtype] of [
      ['Q8_0', 'q8'],
      ['Q4_0', 'q4'],
    ] as const) {
      await dtypes(type, 'keep')
      await dtypes(type, dtype)
      expect(await cidOf(type, dtype)).toEqual(await cidOf(type, 'keep'))
    }
  })
})
