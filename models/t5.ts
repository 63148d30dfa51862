import { GraphBuilder, type Module, type Value } from '../src/graph/build.js'
import type { ModelProto } from '../src/graph/generated/onnx_pb.js'
import { embedding, linear, rmsNorm } from '../src/graph/modules.js'
import type { StateDict } from '../src/graph/weights.js'
import { activation } from './activation.js'
import { attention, CausalMask, cachedAttention, type Heads } from './attention.js'
import { type Config, ConfigReader } from './config.js'
import { realKeys, writtenOut } from './encoder.js'
import { type Family, namesOf } from './family.js'
import { type Buckets, checkBuckets, positionBias } from './relative-positions.js'

interface T5 {
  readonly hidden: number
  readonly inner: number
  readonly sizes: Heads
  readonly epsilon: number
  readonly act: string
  readonly gated: boolean
}

/** Lower than any score, and finite: a row that sees nothing has a mean of all, not NaN. */
const LOWEST = -3.4028234663852886e38

/** T5, also v1.1 and FLAN: an encoder and a decoder that know positions by biases of their scores, norms first, no biases elsewhere. */
export const t5: Family = { modelTypes: ['t5'], task: 'encoder-decoder', ties, build }

function ties(raw: Config, names: ReadonlySet<string>): ReadonlyMap<string, string> {
  const head = 'lm_head.weight'
  const tables = ['shared.weight', 'encoder.embed_tokens.weight', 'decoder.embed_tokens.weight']
  // The head of an untied model is in its checkpoint.
  const same = new ConfigReader(raw).flag('tie_word_embeddings', true) || !names.has(head) ? [...tables, head] : tables
  const owner = same.find((name) => names.has(name))
  return new Map(owner === undefined ? [] : same.filter((name) => name !== owner).map((name) => [name, owner]))
}

function readConfig(config: ConfigReader): T5 {
  const [heads, headDim] = [config.size('num_heads', 8), config.size('d_kv', 64)]
  const named = config.text('feed_forward_proj', 'relu')
  const act = named === 'gated-gelu' ? 'gelu_new' : named.replace(/^gated-/, '')
  return {
    hidden: config.size('d_model', 512),
    inner: config.size('d_ff', 2048),
    // Scores are not scaled: the weights were trained so.
    sizes: { heads, kvHeads: heads, headDim, scale: 1 },
    epsilon: config.positive('layer_norm_epsilon', 1e-6),
    act: config.text('dense_act_fn', act),
    gated: config.flag('is_gated_act', named.startsWith('gated-')),
  }
}

function bucketsOf(config: ConfigReader, bothWays: boolean): Buckets {
  const [count, farthest] = [config.size('relative_attention_num_buckets', 32), config.size('relative_attention_max_distance', 128)]
  const buckets = { count, farthest, bothWays }
  checkBuckets(buckets)
  return buckets
}

function build(raw: Config, weights: StateDict): ModelProto {
  const config = new ConfigReader(raw)
  const model = readConfig(config)
  const { hidden, epsilon } = model
  const vocab = config.size('vocab_size', 32128)
  const graph = new GraphBuilder('t5', weights, ties(raw, namesOf(weights)))
  const [root, shared] = [graph.module(''), graph.module('shared')]
  const [encoder, decoder] = [graph.module('encoder'), graph.module('decoder')]
  const ids = graph.input('input_ids', 'I64', ['batch', 'encoder_sequence'])
  const mask = graph.input('attention_mask', 'I64', ['batch', 'encoder_sequence'])
  const decoderIds = graph.input('decoder_input_ids', 'I64', ['batch', 'sequence'])
  const decoderMask = graph.input('decoder_attention_mask', 'I64', ['batch', 'total_sequence'])

  const real = realKeys(encoder.child('mask'), mask)
  const scores = encoderScores(encoder, model, bucketsOf(config, true), ids, real)
  let x = embedding(shared, ids, vocab, hidden) // (batch, encoder_sequence, hidden)
  const layers = config.size('num_layers', 6)
  for (let n = 0; n < layers; n++) {
    const layer = encoder.child(`block.${n}.layer`)
    x = added(layer.child('0'), model, x, (module, h) => selfAttention(module, model, h, scores))
    x = added(layer.child('1'), model, x, (module, h) => feedForward(module, model, h))
  }
  const encoded = rmsNorm(encoder.child('final_layer_norm'), x, hidden, epsilon, false, 'encoder_last_hidden_state')

  const causal = new CausalMask(decoder.child('mask'), { ids: decoderIds, mask: decoderMask })
  const bias = positionBias(decoder.child(FIRST_ATTENTION), bucketsOf(config, false), model.sizes.heads, causal.queries, causal.keys)
  const seen = masked(decoder.child('mask'), causal.of(undefined), bias)
  const encoderSeen = writtenOut(decoder.child('encoder_mask'), real, decoderIds)
  let y = embedding(shared, decoderIds, vocab, hidden) // (batch, sequence, hidden)
  const decoderLayers = config.size('num_decoder_layers', layers)
  for (let n = 0; n < decoderLayers; n++) {
    const layer = decoder.child(`block.${n}.layer`)
    y = added(layer.child('0'), model, y, (module, h) => selfAttention(module, model, h, seen, n))
    y = added(layer.child('1'), model, y, (module, h) => crossAttention(module, model, h, encoded, encoderSeen))
    y = added(layer.child('2'), model, y, (module, h) => feedForward(module, model, h))
  }
  y = rmsNorm(decoder.child('final_layer_norm'), y, hidden, epsilon)
  // Files from before this key scale where embedding and head are one tensor.
  if (config.flag('scale_decoder_outputs', config.flag('tie_word_embeddings', true))) y = root.op('Mul', [y, root.scalar(hidden ** -0.5)])
  graph.output(linear(root.child('lm_head'), y, { inputs: hidden, outputs: vocab, bias: false, name: 'logits' }))
  graph.output(encoded)
  return graph.finish()
}

// It alone has the biases, for all layers of its stack.
const FIRST_ATTENTION = 'block.0.layer.0.SelfAttention'

/** What is added to the scores of every layer of the encoder: F32 (batch, heads, encoder_sequence, encoder_sequence). */
function encoderScores(encoder: Module, { sizes }: T5, buckets: Buckets, ids: Value, real: Value): Value {
  const module = encoder.child('mask')
  const length = module.op('Squeeze', [module.op('Shape', [ids], { start: 1n, end: 2n }, { dims: [1] })], {}, { dims: [] })
  const places = module.op('Range', [module.integer(0), length, module.integer(1)], {}, { dims: ['encoder_sequence'] })
  const keys = module.op('Unsqueeze', [places, module.integers(0)], {}, { dims: [1, 'encoder_sequence'] })
  const queries = module.op('Unsqueeze', [places, module.integers(1)], {}, { dims: ['encoder_sequence', 1] })
  return masked(module, real, positionBias(encoder.child(FIRST_ATTENTION), buckets, sizes.heads, queries, keys))
}

/** `bias` (heads, queries, keys) where `seen` (batch, 1, queries or 1, keys) allows: (batch, heads, queries, keys). */
function masked(module: Module, seen: Value, bias: Value): Value {
  return module.op('Where', [seen, bias, module.scalar(LOWEST)], {}, { dtype: 'F32', dims: ['batch', ...bias.dims!] })
}

/** x + f(norm(x)), of one of the two or three parts of a layer. */
function added(module: Module, { hidden, epsilon }: T5, x: Value, f: (module: Module, h: Value) => Value): Value {
  return module.op('Add', [x, f(module, rmsNorm(module.child('layer_norm'), x, hidden, epsilon))])
}

/** x (batch, sequence, hidden) -> the same; `index` is the decoder's layer whose cache it has. */
function selfAttention(part: Module, model: T5, x: Value, scores: Value, index?: number): Value {
  const module = part.child('SelfAttention')
  const [q, k, v] = [projected(module, model, 'q', x), projected(module, model, 'k', x), projected(module, model, 'v', x)]
  const y =
    index === undefined ? attention(module, q, k, v, scores, model.sizes) : cachedAttention(module, index, [q, k, v], scores, model.sizes)
  return output(module, model, y)
}

/** x (batch, sequence, hidden) looks at `encoded` (batch, encoder_sequence, hidden) -> (batch, sequence, hidden). */
function crossAttention(part: Module, model: T5, x: Value, encoded: Value, seen: Value): Value {
  const module = part.child('EncDecAttention')
  const [k, v] = [projected(module, model, 'k', encoded), projected(module, model, 'v', encoded)]
  return output(module, model, attention(module, projected(module, model, 'q', x), k, v, seen, model.sizes))
}

function projected(module: Module, { hidden, sizes }: T5, name: string, x: Value): Value {
  return linear(module.child(name), x, { inputs: hidden, outputs: sizes.heads * sizes.headDim, bias: false })
}

function output(module: Module, { hidden, sizes }: T5, x: Value): Value {
  return linear(module.child('o'), x, { inputs: sizes.heads * sizes.headDim, outputs: hidden, bias: false })
}

function feedForward(part: Module, { hidden, inner, act, gated }: T5, x: Value): Value {
  const module = part.child('DenseReluDense')
  const wide = (name: string) => linear(module.child(name), x, { inputs: hidden, outputs: inner, bias: false })
  const first = activation(module.child('act'), act, wide(gated ? 'wi_0' : 'wi'))
  const made = gated ? module.op('Mul', [first, wide('wi_1')]) : first
  return linear(module.child('wo'), made, { inputs: inner, outputs: hidden, bias: false })
}
