import { AssetError } from '../src/core/errors.js'
import { GraphBuilder, type Module, type Value } from '../src/graph/build.js'
import type { ModelProto } from '../src/graph/generated/onnx_pb.js'
import { embedding, layerNorm } from '../src/graph/modules.js'
import type { StateDict } from '../src/graph/weights.js'
import { ConfigReader } from './config.js'
import { bertSizes, type Encoder, type EncoderNames, encoderLayer, learnedPositions, paddingMask } from './encoder.js'
import type { BuildOptions, Family } from './family.js'
import { MEAN, pool } from './pooling.js'

const NAMES: EncoderNames = {
  query: 'attention.self.query',
  key: 'attention.self.key',
  value: 'attention.self.value',
  output: 'attention.output.dense',
  attentionNorm: 'attention.output.LayerNorm',
  up: 'intermediate.dense',
  act: 'intermediate.intermediate_act_fn',
  down: 'output.dense',
  mlpNorm: 'output.LayerNorm',
}

/** The rows of the position table for ids (batch, sequence): (sequence, hidden) or (batch, sequence, hidden). */
type Positions = (module: Module, config: ConfigReader, ids: Value, hidden: number) => Value

/** BERT and the sentence encoders made of it. */
export const bert: Family = bertFamily('bert', { vocab: 30522 }, (module, config, ids, hidden) =>
  learnedPositions(module, ids, config.size('max_position_embeddings', 512), hidden),
)

/** Makes a family of BERT-like encoders out of how it counts positions. */
export function bertFamily(modelType: string, usual: { readonly vocab: number }, positions: Positions): Family {
  return {
    modelTypes: [modelType],
    task: 'encoder',
    ties: () => new Map(),
    build: (config, weights, options) => build(modelType, new ConfigReader(config), weights, options, usual.vocab, positions),
  }
}

function readConfig(family: string, config: ConfigReader): Encoder {
  for (const key of ['is_decoder', 'add_cross_attention'])
    if (config.flag(key, false)) throw new AssetError('UNSUPPORTED', `Cannot build the graph: ${family} with ${key} is not supported`)
  if (config.text('position_embedding_type', 'absolute') !== 'absolute')
    throw new AssetError(
      'UNSUPPORTED',
      `Cannot build the graph: ${family} with relative positions (position_embedding_type) is not supported`,
    )
  return { ...bertSizes(config), names: NAMES }
}

function build(
  family: string,
  config: ConfigReader,
  weights: StateDict,
  { pooling = MEAN }: BuildOptions,
  vocab: number,
  positions: Positions,
): ModelProto {
  const encoder = readConfig(family, config)
  const { hidden, epsilon } = encoder
  const graph = new GraphBuilder(family, weights)
  const root = graph.module('')
  // Checkpoints of a bare model have no prefix, those with a head on it have `bert.`.
  const model = graph.module(weights.has(`${family}.embeddings.word_embeddings.weight`) ? family : '')
  const tokens = ['batch', 'sequence']
  const ids = graph.input('input_ids', 'I64', tokens)
  const mask = graph.input('attention_mask', 'I64', tokens)
  const types = graph.input('token_type_ids', 'I64', tokens)

  const embed = model.child('embeddings')
  const words = embedding(embed.child('word_embeddings'), ids, config.size('vocab_size', vocab), hidden)
  const kinds = embedding(embed.child('token_type_embeddings'), types, config.size('type_vocab_size', 2), hidden)
  const where = positions(embed.child('position_embeddings'), config, ids, hidden)
  const sum = embed.op('Add', [embed.op('Add', [words, kinds]), where])
  let x = layerNorm(embed.child('LayerNorm'), sum, hidden, epsilon) // (batch, sequence, hidden)
  const seen = paddingMask(model.child('mask'), mask)
  const layers = config.size('num_hidden_layers', 12)
  for (let n = 0; n < layers; n++)
    x = encoderLayer(model.child(`encoder.layer.${n}`), encoder, x, seen, n === layers - 1 ? 'last_hidden_state' : undefined)
  graph.output(x)
  graph.output(pool(root.child('pooling'), x, mask, pooling, hidden))
  return graph.finish()
}
