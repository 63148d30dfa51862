import { GraphBuilder, type Module, type Value } from '../src/graph/build.js'
import type { ModelProto } from '../src/graph/generated/onnx_pb.js'
import { embedding, linear, rmsNorm } from '../src/graph/modules.js'
import type { StateDict } from '../src/graph/weights.js'
import { activation } from './activation.js'
import { CausalMask, cachedAttention, decoderInputs, type Heads } from './attention.js'
import { badConfig, type Config, ConfigReader } from './config.js'
import { type Family, namesOf } from './family.js'
import { inverseFrequencies, type Rotary, rotary, rotate } from './rotary.js'

/** The decoder that Llama made common: RMSNorm, rotary positions, grouped heads, gated MLP. What families differ in: */
export interface DecoderTraits {
  /** biases of q_proj, k_proj and v_proj */
  readonly qkvBias: boolean
  /** bias of o_proj */
  readonly outputBias: boolean
  readonly mlpBias: boolean
  /** RMSNorm of each head of queries and keys, before the rotation */
  readonly headNorm: boolean
  readonly headDim: number
  readonly kvHeads: number
  /** tokens that a layer's queries see, themselves included; undefined for all */
  window(layer: number): number | undefined
}

interface Decoder extends DecoderTraits, Heads {
  readonly config: ConfigReader
  readonly hidden: number
  readonly inner: number
  readonly epsilon: number
  readonly act: string
}

/** Makes a family of Llama-like decoders from what its config.json says about its traits. */
export function decoderFamily(modelType: string, traits: (config: ConfigReader) => DecoderTraits): Family {
  return {
    modelTypes: [modelType],
    task: 'decoder',
    ties: decoderTies,
    build: (config, weights) => buildDecoder(config, weights, traits(new ConfigReader(config))),
  }
}

/** `model.`, or nothing for a checkpoint of the bare model. */
function prefixOf(names: ReadonlySet<string>): string {
  return names.has('embed_tokens.weight') && !names.has('model.embed_tokens.weight') ? '' : 'model'
}

function decoderTies(config: Config, names: ReadonlySet<string>): ReadonlyMap<string, string> {
  const [embed, head] = [prefixOf(names) === '' ? 'embed_tokens.weight' : 'model.embed_tokens.weight', 'lm_head.weight']
  if (!new ConfigReader(config).flag('tie_word_embeddings', false)) return new Map()
  if (names.has(embed)) return new Map([[head, embed]])
  return names.has(head) ? new Map([[embed, head]]) : new Map()
}

/** The usual head_dim: as given, else hidden_size / num_attention_heads, which must then divide. */
export function headDimOf(config: ConfigReader, fallback?: number): number {
  const [hidden, heads] = [config.size('hidden_size'), config.size('num_attention_heads')]
  if (config.has('head_dim')) return config.size('head_dim')
  if (fallback !== undefined) return fallback
  if (hidden % heads !== 0) throw badConfig(`hidden_size ${hidden} is not a multiple of num_attention_heads ${heads}`)
  return hidden / heads
}

function buildDecoder(raw: Config, weights: StateDict, traits: DecoderTraits): ModelProto {
  const config = new ConfigReader(raw)
  const heads = config.size('num_attention_heads')
  if (heads % traits.kvHeads !== 0)
    throw badConfig(`num_attention_heads ${heads} is not a multiple of num_key_value_heads ${traits.kvHeads}`)
  const decoder: Decoder = {
    ...traits,
    config,
    heads,
    scale: traits.headDim ** -0.5,
    hidden: config.size('hidden_size'),
    inner: config.size('intermediate_size'),
    epsilon: config.positive('rms_norm_eps', 1e-6),
    act: config.text('hidden_act', 'silu'),
  }
  const vocab = config.size('vocab_size')
  const layers = config.size('num_hidden_layers')
  const names = namesOf(weights)
  const graph = new GraphBuilder(config.text('model_type', 'decoder'), weights, decoderTies(raw, names))
  const root = graph.module('')
  const model = graph.module(prefixOf(names))
  const inputs = decoderInputs(root)

  let x = embedding(model.child('embed_tokens'), inputs.ids, vocab, decoder.hidden) // (batch, sequence, hidden)
  const turn = rotary(model.child('rotary_emb'), inputs.positions, inverseFrequencies(config, decoder.headDim))
  const mask = new CausalMask(model.child('mask'), inputs)
  // Bounded by the weights, not by the number in config.json: a layer without weights ends it.
  for (let n = 0; n < layers; n++) x = layer(model.child(`layers.${n}`), decoder, n, x, turn, mask.of(decoder.window(n)))
  x = rmsNorm(model.child('norm'), x, decoder.hidden, decoder.epsilon)
  graph.output(linear(root.child('lm_head'), x, { inputs: decoder.hidden, outputs: vocab, bias: false, name: 'logits' }))
  return graph.finish()
}

/** x (batch, sequence, hidden) -> the same. */
function layer(module: Module, decoder: Decoder, index: number, x: Value, turn: Rotary, mask: Value): Value {
  const { hidden, epsilon } = decoder
  const attended = selfAttention(
    module.child('self_attn'),
    decoder,
    index,
    rmsNorm(module.child('input_layernorm'), x, hidden, epsilon),
    turn,
    mask,
  )
  const y = module.op('Add', [x, attended])
  return module.op('Add', [y, mlp(module.child('mlp'), decoder, rmsNorm(module.child('post_attention_layernorm'), y, hidden, epsilon))])
}

function selfAttention(module: Module, decoder: Decoder, index: number, x: Value, turn: Rotary, mask: Value): Value {
  const { hidden, heads, kvHeads, headDim, qkvBias: bias } = decoder
  const [wide, narrow] = [heads * headDim, kvHeads * headDim]
  let q = linear(module.child('q_proj'), x, { inputs: hidden, outputs: wide, bias }) // (batch, sequence, heads * head_dim)
  let k = linear(module.child('k_proj'), x, { inputs: hidden, outputs: narrow, bias }) // (batch, sequence, kv_heads * head_dim)
  const v = linear(module.child('v_proj'), x, { inputs: hidden, outputs: narrow, bias })
  if (decoder.headNorm) {
    q = headNorm(module.child('q_norm'), decoder, q, heads)
    k = headNorm(module.child('k_norm'), decoder, k, kvHeads)
  }
  const turned = [rotate(module, q, turn, heads), rotate(module, k, turn, kvHeads), v] as const
  const y = cachedAttention(module, index, turned, mask, decoder)
  return linear(module.child('o_proj'), y, { inputs: wide, outputs: hidden, bias: decoder.outputBias })
}

/** RMSNorm of every head of x (batch, sequence, heads * head_dim) by itself. */
function headNorm(module: Module, { headDim, epsilon }: Decoder, x: Value, heads: number): Value {
  const split = module.op('Reshape', [x, module.integers(0, 0, heads, headDim)], {}, { dims: ['batch', 'sequence', heads, headDim] })
  const normed = rmsNorm(module, split, headDim, epsilon)
  return module.op('Reshape', [normed, module.integers(0, 0, heads * headDim)], {}, { dims: ['batch', 'sequence', heads * headDim] })
}

function mlp(module: Module, { hidden, inner, mlpBias: bias, act }: Decoder, x: Value): Value {
  const gate = activation(module.child('act_fn'), act, linear(module.child('gate_proj'), x, { inputs: hidden, outputs: inner, bias }))
  const up = linear(module.child('up_proj'), x, { inputs: hidden, outputs: inner, bias })
  return linear(module.child('down_proj'), module.op('Mul', [gate, up]), { inputs: inner, outputs: hidden, bias })
}
