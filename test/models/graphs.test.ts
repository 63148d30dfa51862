import { describe, expect, it } from 'vitest'
import { ConfigReader } from '../../models/config.js'
import { readPooling } from '../../models/pooling.js'
import { buildGraph, familyOf, knownFamilies } from '../../models/registry.js'
import { turnChange, turnOf } from '../../models/turn.js'
import { externalData } from '../../src/graph/external.js'
import { parseGraph, serializeGraph } from '../../src/graph/parse.js'
import type { WeightRef } from '../../src/graph/weights.js'
import { decoderConfig, decoderWeights } from './synthetic.js'

const graphOf = (config = decoderConfig, weights = decoderWeights()) => buildGraph(config, weights)
const failure = (run: () => unknown) => {
  try {
    run()
  } catch (error) {
    return error
  }
  return undefined
}

describe('the graph of a decoder', () => {
  const { graph } = graphOf()

  it('has every weight outside, where the state dict says, and no tensor that it does not use', () => {
    const weights = decoderWeights()
    const outside = graph!.initializer.filter((tensor) => externalData(tensor))
    for (const tensor of outside) {
      const { location, offset, length } = weights.get(tensor.name)!
      expect(externalData(tensor)).toEqual({ location, offset, length })
    }
    const used = [...weights.keys()].filter((name) => !name.endsWith('inv_freq'))
    expect(outside.map((tensor) => tensor.name).sort()).toEqual(used.sort())
  })

  it('lists nodes in forward order, each value with its element type', () => {
    const known = new Set(['', ...graph!.input.map((value) => value.name), ...graph!.initializer.map((tensor) => tensor.name)])
    const typed = new Set([...graph!.valueInfo, ...graph!.output].map((value) => value.name))
    for (const node of graph!.node) {
      for (const input of node.input) expect(known.has(input), `${node.name} reads ${input}`).toBe(true)
      for (const output of node.output) {
        expect(known.has(output)).toBe(false)
        expect(typed.has(output), output).toBe(true)
        known.add(output)
      }
    }
  })

  it('uses each linear weight in exactly one MatMul, named after its module', () => {
    const turned = new Map(graph!.node.filter((node) => node.opType === 'Transpose').map((node) => [node.output[0], node]))
    const products = graph!.node.filter((node) => node.opType === 'MatMul')
    expect(products).toHaveLength(2 * 7 + 1)
    expect(new Set(products.map((node) => node.input[1])).size).toBe(products.length)
    for (const product of products) {
      const turn = turned.get(product.input[1])!
      expect(turn.name).toBe(product.name.replace('MatMul', 'Transpose'))
      expect(graph!.node.filter((node) => node.input.includes(turn.output[0]!))).toHaveLength(1)
    }
    expect(products[0]!.name).toBe('/model/layers/0/self_attn/q_proj/MatMul')
  })

  it('makes masks and rotary tables once', () => {
    for (const op of ['Cos', 'Sin', 'Or', 'Range']) expect(graph!.node.filter((node) => node.opType === op)).toHaveLength(1)
  })

  it('has the same bytes each time, and reads back as it was', () => {
    const bytes = serializeGraph(graphOf())
    expect(Buffer.compare(bytes, serializeGraph(graphOf()))).toBe(0)
    expect(Buffer.compare(bytes, serializeGraph(parseGraph(bytes)))).toBe(0)
  })

  it('uses the head of the checkpoint where it has one, else the tied embedding', () => {
    const headOf = (config: Record<string, unknown>, without: string[]) => {
      const weights = new Map([...decoderWeights()].filter(([name]) => !without.includes(name)))
      return graphOf({ ...decoderConfig, ...config }, weights).graph!.node.find((node) => node.name === '/lm_head/Cast')!.input[0]
    }
    expect(headOf({ tie_word_embeddings: true }, [])).toBe('lm_head.weight')
    expect(headOf({ tie_word_embeddings: true }, ['lm_head.weight'])).toBe('model.embed_tokens.weight')
    expect(failure(() => headOf({}, ['lm_head.weight']))).toMatchObject({
      code: 'BAD_INPUT',
      message: 'Cannot build the graph: tensor lm_head.weight [32, 16] is missing from the weights',
    })
  })
})

describe('a config.json that makes no model', () => {
  const cases: [string, Record<string, unknown>, RegExp][] = [
    ['negative layers', { num_hidden_layers: -1 }, /config\.json num_hidden_layers is -1, expected a whole number/],
    ['a billion layers', { num_hidden_layers: 1e9 }, /tensor model\.layers\.2\.input_layernorm\.weight \[16\] is missing/],
    ['more layers than a number holds', { num_hidden_layers: 1e300 }, /config\.json num_hidden_layers is 1e\+300/],
    ['a text for a number', { hidden_size: '16' }, /config\.json hidden_size is "16"/],
    ['a missing key', { vocab_size: undefined }, /config\.json vocab_size is missing/],
    ['heads that do not divide', { num_attention_heads: 3 }, /hidden_size 16 is not a multiple of num_attention_heads 3/],
    ['shared heads that do not divide', { num_key_value_heads: 3 }, /num_attention_heads 4 is not a multiple of num_key_value_heads 3/],
    ['an odd head', { head_dim: 3 }, /head_dim is 3/],
    ['an enormous head', { head_dim: 2 ** 30 }, /head_dim is 1073741824/],
    ['another width', { hidden_size: 32 }, /tensor model\.embed_tokens\.weight has the shape \[32, 16\], expected \[32, 32\]/],
    ['a list for an object', { rope_parameters: [1] }, /config\.json rope_parameters is \[1\], expected an object/],
    [
      'more experts for a token than there are',
      { model_type: 'mixtral', num_local_experts: 2, num_experts_per_tok: 3 },
      /num_experts_per_tok 3 is more than the 2 experts/,
    ],
    [
      'a billion experts',
      { model_type: 'mixtral', num_local_experts: 1e9 },
      /block_sparse_moe\.gate\.weight \[1000000000, 16\] is missing/,
    ],
    [
      'layers that are no numbers',
      { model_type: 'qwen3_moe', mlp_only_layers: [-1] },
      /mlp_only_layers is \[-1\], expected a list of whole numbers/,
    ],
    ['a negative base', { rope_parameters: { rope_theta: -1 } }, /config\.json rope_parameters\.rope_theta is -1/],
    ['an inherited key', { rms_norm_eps: 'constructor' }, /rms_norm_eps is "constructor"/],
  ]
  for (const [what, change, text] of cases) {
    it(`is refused: ${what}`, () => {
      const error = failure(() => graphOf({ ...decoderConfig, ...change }))
      expect(error).toMatchObject({ name: 'AssetError', code: 'BAD_INPUT', message: expect.stringMatching(text) })
      expect((error as Error).message).toMatch(/^Cannot build the graph: /)
    })
  }

  const unknown: [Record<string, unknown>, RegExp][] = [
    [{ rope_scaling: { type: 'yarn', factor: 2 } }, /rope type "yarn" is not supported/],
    [{ hidden_act: 'xielu' }, /activation "xielu" is not known/],
    [{ model_type: 'mamba' }, /model_type is "mamba"; the families known are bert, distilbert, gemma2, gemma3_text, gpt2, gpt_neox, llama/],
    [{ model_type: 'gemma2', use_bidirectional_attention: true }, /use_bidirectional_attention is not supported/],
    [{ model_type: 'gemma3_text', attn_logit_softcapping: 50 }, /attn_logit_softcapping is not supported/],
    [{ model_type: 'gemma3_text', rope_parameters: { rope_theta: 10000 } }, /rope_parameters for all layers alike/],
    [{ model_type: 'roberta', is_decoder: true }, /roberta with is_decoder is not supported/],
    [{ model_type: 'vit', image_size: [32, 64] }, /image_size as a list is not supported/],
    [{ model_type: '__proto__' }, /model_type is "__proto__"/],
  ]
  for (const [change, text] of unknown) {
    it(`is refused as unsupported: ${JSON.stringify(change)}`, () => {
      expect(failure(() => graphOf({ ...decoderConfig, ...change }))).toMatchObject({
        code: 'UNSUPPORTED',
        message: expect.stringMatching(text),
      })
    })
  }
  it('is refused as unsupported: a bert that decodes', () => {
    expect(failure(() => buildGraph({ model_type: 'bert', is_decoder: true }, new Map()))).toMatchObject({ code: 'UNSUPPORTED' })
  })
})

describe('weights that make no model', () => {
  const name = 'model.layers.1.mlp.up_proj.weight'
  const changed = (change: Partial<WeightRef>) => {
    const weights = decoderWeights()
    return failure(() => graphOf(decoderConfig, new Map(weights).set(name, { ...weights.get(name)!, ...change })))
  }
  it('are refused with the name of the tensor, and what was expected', () => {
    expect(changed({ shape: [16, 24] })).toMatchObject({
      code: 'BAD_INPUT',
      message: `Cannot build the graph: tensor ${name} has the shape [16, 24], expected [24, 16]`,
    })
    expect(changed({ dtype: 'I8' })).toMatchObject({
      code: 'BAD_INPUT',
      message: expect.stringContaining(`${name} is of I8, but its scales`),
    })
    expect(changed({ length: 7 })).toMatchObject({ code: 'BAD_INPUT', message: expect.stringContaining('has 7 bytes') })
  })
})

describe('a list by layers in config.json', () => {
  it.each([
    [{ no_rope_layers: [1, 2] }, /no_rope_layers is \[1,2\], expected a list of zeros and ones/],
    [{ use_sliding_window: true, sliding_window: 4, layer_types: ['chunked'] }, /layer_types gives no known type for layer 0/],
  ])('that names what no layer is makes no model: %j', (change, text) => {
    expect(failure(() => graphOf({ ...decoderConfig, model_type: 'smollm3', ...change }))).toMatchObject({
      code: 'BAD_INPUT',
      message: expect.stringMatching(text),
    })
  })
})

describe('a family', () => {
  it('is found by model_type and says which tensors are one', () => {
    expect(knownFamilies().join()).toBe(
      'bert,distilbert,gemma2,gemma3_text,gpt2,gpt_neox,llama,mistral,mixtral,olmoe,phi3,qwen2,qwen3,qwen3_moe,roberta,smollm3,t5,vit',
    )
    const ties = (model_type: string, names: string[], config = {}) => [
      ...familyOf({ model_type })!.ties({ model_type, ...config }, new Set(names)),
    ]
    const head = 'lm_head.weight'
    expect(ties('llama', ['model.embed_tokens.weight'])).toEqual([])
    expect(ties('llama', ['model.embed_tokens.weight'], { tie_word_embeddings: true })).toEqual([[head, 'model.embed_tokens.weight']])
    expect(ties('llama', ['embed_tokens.weight'], { tie_word_embeddings: true })).toEqual([[head, 'embed_tokens.weight']])
    const tables = ['encoder.embed_tokens.weight', 'decoder.embed_tokens.weight']
    expect(ties('t5', ['shared.weight', head])).toEqual([...tables, head].map((name) => [name, 'shared.weight']))
    expect(ties('t5', ['shared.weight', head], { tie_word_embeddings: false })).toEqual(tables.map((name) => [name, 'shared.weight']))
    expect(ties('t5', [tables[0]!])).toEqual(['shared.weight', tables[1]!, head].map((name) => [name, tables[0]!]))
    expect(ties('t5', ['nothing'])).toEqual([])
    expect(ties('gpt2', ['transformer.wte.weight', head])).toEqual([[head, 'transformer.wte.weight']])
    expect(ties('gpt2', ['wte.weight'])).toEqual([[head, 'wte.weight']])
    expect(ties('qwen2', [head], { tie_word_embeddings: true })).toEqual([['model.embed_tokens.weight', head]])
    expect(ties('gemma2', ['model.embed_tokens.weight'])).toEqual([[head, 'model.embed_tokens.weight']])
    expect(ties('gpt_neox', ['gpt_neox.embed_in.weight'], { tie_word_embeddings: true })).toEqual([
      ['embed_out.weight', 'gpt_neox.embed_in.weight'],
    ])
    expect(ties('bert', ['embeddings.word_embeddings.weight'])).toEqual([])
  })
})

describe('rotary frequencies and pooling', () => {
  const frequencies = (config: Record<string, unknown>) => turnOf(new ConfigReader(config), 4).frequencies
  it('are float32, and divided by the factor of linear scaling', () => {
    expect(frequencies({})).toEqual([1, Math.fround(0.01)])
    expect(frequencies({ rope_scaling: { type: 'linear', factor: 4 } })).toEqual([0.25, Math.fround(0.0025)])
  })
  it('are fewer where heads are turned in part, and refused where nobody says how', () => {
    const partial = (partial_rotary_factor: unknown, usual?: number) =>
      turnOf(new ConfigReader({ partial_rotary_factor }), 8, usual === undefined ? {} : { partial: usual })
    expect(partial(0.5, 1)).toMatchObject({ frequencies: [1, Math.fround(0.01)], width: 8 })
    expect(partial(undefined, 0.25).frequencies).toEqual([1])
    expect(failure(() => partial(0.5))).toMatchObject({ code: 'UNSUPPORTED', message: expect.stringContaining('partial_rotary_factor') })
    expect(failure(() => partial(0.4, 1))).toMatchObject({ code: 'BAD_INPUT', message: expect.stringContaining('turns 3 of 8 elements') })
    expect(failure(() => partial(2, 1))).toMatchObject({ code: 'BAD_INPUT', message: expect.stringContaining('turns 16 of 8 elements') })
  })
  it('of LongRoPE have a factor each, and say from which length on they change', () => {
    const rope_scaling = { type: 'su', short_factor: [1, 2], long_factor: [4, 8] }
    const config = (change: object) =>
      new ConfigReader({ max_position_embeddings: 256, original_max_position_embeddings: 16, rope_scaling: { ...rope_scaling, ...change } })
    expect(turnOf(config({}), 4)).toEqual({
      frequencies: [1, Math.fround(0.005)],
      long: { over: 16, frequencies: [0.25, Math.fround(0.00125)] },
      scale: Math.sqrt(2),
      width: 4,
    })
    expect(turnChange(config({}))).toBe(16)
    expect(turnChange(config({ type: 'linear' }))).toBeUndefined()
    expect(failure(() => turnOf(config({ long_factor: [1, -2] }), 4))).toMatchObject({
      code: 'BAD_INPUT',
      message: expect.stringContaining('rope_scaling.long_factor is [1,-2], expected 2 numbers above zero'),
    })
  })
  it('reads the modes of both kinds of pooling file', () => {
    expect(readPooling({ pooling_mode_cls_token: true, pooling_mode_mean_tokens: false })).toEqual({ modes: ['cls'], normalize: true })
    expect(readPooling({ pooling_mode: 'max' }, false)).toEqual({ modes: ['max'], normalize: false })
    expect(failure(() => readPooling({ pooling_mode_lasttoken: true }))).toMatchObject({ code: 'UNSUPPORTED' })
    expect(failure(() => readPooling({}))).toMatchObject({ code: 'BAD_INPUT' })
  })
})
