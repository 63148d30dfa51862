import { AssetError } from '../src/core/errors.js'
import { GraphBuilder, type Module, type Value } from '../src/graph/build.js'
import type { ModelProto } from '../src/graph/generated/onnx_pb.js'
import { embedding, layerNorm, linear } from '../src/graph/modules.js'
import type { StateDict } from '../src/graph/weights.js'
import { activation } from './activation.js'
import { attention } from './attention.js'
import { badConfig, type Config, ConfigReader } from './config.js'
import type { BuildOptions, Family } from './family.js'
import { MEAN, pool } from './pooling.js'

interface Bert {
  readonly hidden: number
  readonly inner: number
  readonly heads: number
  readonly epsilon: number
  readonly act: string
}

/** BERT and the sentence encoders made of it. */
export const bert: Family = { modelTypes: ['bert'], task: 'encoder', ties: () => new Map(), build }

function readConfig(config: ConfigReader): Bert {
  for (const key of ['is_decoder', 'add_cross_attention'])
    if (config.flag(key, false)) throw new AssetError('UNSUPPORTED', `Cannot build the graph: bert with ${key} is not supported`)
  if (config.text('position_embedding_type', 'absolute') !== 'absolute')
    throw new AssetError('UNSUPPORTED', 'Cannot build the graph: bert with relative positions (position_embedding_type) is not supported')
  const [hidden, heads] = [config.size('hidden_size', 768), config.size('num_attention_heads', 12)]
  if (hidden % heads !== 0) throw badConfig(`hidden_size ${hidden} is not a multiple of num_attention_heads ${heads}`)
  return {
    hidden,
    heads,
    inner: config.size('intermediate_size', 3072),
    epsilon: config.positive('layer_norm_eps', 1e-12),
    act: config.text('hidden_act', 'gelu'),
  }
}

function build(raw: Config, weights: StateDict, { pooling = MEAN }: BuildOptions): ModelProto {
  const config = new ConfigReader(raw)
  const sizes = readConfig(config)
  const graph = new GraphBuilder('bert', weights)
  const root = graph.module('')
  // Checkpoints of a bare BertModel have no prefix, those with a head on it have `bert.`.
  const model = graph.module(weights.has('bert.embeddings.word_embeddings.weight') ? 'bert' : '')
  const tokens = ['batch', 'sequence']
  const ids = graph.input('input_ids', 'I64', tokens)
  const mask = graph.input('attention_mask', 'I64', tokens)
  const types = graph.input('token_type_ids', 'I64', tokens)

  let x = embeddings(model.child('embeddings'), config, sizes, ids, types) // (batch, sequence, hidden)
  const seen = paddingMask(model.child('mask'), mask)
  const layers = config.size('num_hidden_layers', 12)
  for (let n = 0; n < layers; n++)
    x = layer(model.child(`encoder.layer.${n}`), sizes, x, seen, n === layers - 1 ? 'last_hidden_state' : undefined)
  graph.output(x)
  graph.output(pool(root.child('pooling'), x, mask, pooling, sizes.hidden))
  return graph.finish()
}

function embeddings(module: Module, config: ConfigReader, { hidden, epsilon }: Bert, ids: Value, types: Value): Value {
  const words = embedding(module.child('word_embeddings'), ids, config.size('vocab_size', 30522), hidden)
  const kinds = embedding(module.child('token_type_embeddings'), types, config.size('type_vocab_size', 2), hidden)
  const positions = module.child('position_embeddings')
  const length = positions.op('Squeeze', [positions.op('Shape', [ids], { start: 1n, end: 2n }, { dims: [1] })], {}, { dims: [] })
  const places = positions.op('Range', [positions.integer(0), length, positions.integer(1)], {}, { dims: ['sequence'] })
  const where = embedding(positions, places, config.size('max_position_embeddings', 512), hidden) // (sequence, hidden)
  const sum = module.op('Add', [module.op('Add', [words, kinds]), where])
  return layerNorm(module.child('LayerNorm'), sum, hidden, epsilon)
}

/** Which token each token sees, BOOL (batch, 1, sequence, sequence): the real ones, from the mask I64 (batch, sequence). */
function paddingMask(module: Module, mask: Value): Value {
  const real = module.cast(mask, 'BOOL')
  const keys = module.op('Unsqueeze', [real, module.integers(1, 2)], {}, { dims: ['batch', 1, 1, 'sequence'] })
  const length = module.op('Shape', [mask], { start: 1n, end: 2n }, { dims: [1] })
  // Attention of opset 23 does not broadcast the rows of a mask in ONNX Runtime, so they are written out, once for all layers.
  const shape = module.op('Concat', [module.integers(1, 1), length, module.integers(1)], { axis: 0n }, { dims: [4] })
  return module.op('Expand', [keys, shape], {}, { dims: ['batch', 1, 'sequence', 'sequence'] })
}

/** x (batch, sequence, hidden) -> the same. */
function layer(module: Module, bert: Bert, x: Value, mask: Value, name: string | undefined): Value {
  const { hidden, inner, epsilon } = bert
  const attended = selfAttention(module.child('attention'), bert, x, mask)
  const wide = linear(module.child('intermediate.dense'), attended, { inputs: hidden, outputs: inner, bias: true })
  const act = activation(module.child('intermediate.intermediate_act_fn'), bert.act, wide)
  const output = module.child('output')
  const narrow = linear(output.child('dense'), act, { inputs: inner, outputs: hidden, bias: true })
  return layerNorm(output.child('LayerNorm'), output.op('Add', [narrow, attended]), hidden, epsilon, name)
}

function selfAttention(module: Module, { hidden, heads, epsilon }: Bert, x: Value, mask: Value): Value {
  const square = { inputs: hidden, outputs: hidden, bias: true }
  const self = module.child('self')
  const [q, k, v] = ['query', 'key', 'value'].map((part) => linear(self.child(part), x, square))
  const headDim = hidden / heads
  const y = attention(self, q!, k!, v!, mask, { heads, kvHeads: heads, headDim, scale: headDim ** -0.5 })
  const output = module.child('output')
  return layerNorm(output.child('LayerNorm'), output.op('Add', [linear(output.child('dense'), y, square), x]), hidden, epsilon)
}
