import { GraphBuilder } from '../src/graph/build.js'
import type { ModelProto } from '../src/graph/generated/onnx_pb.js'
import { embedding, layerNorm } from '../src/graph/modules.js'
import type { StateDict } from '../src/graph/weights.js'
import { type Config, ConfigReader } from './config.js'
import { checkHeads, type Encoder, type EncoderNames, encoderLayer, learnedPositions, paddingMask } from './encoder.js'
import type { BuildOptions, Family } from './family.js'
import { MEAN, pool } from './pooling.js'

const NAMES: EncoderNames = {
  query: 'attention.q_lin',
  key: 'attention.k_lin',
  value: 'attention.v_lin',
  output: 'attention.out_lin',
  attentionNorm: 'sa_layer_norm',
  up: 'ffn.lin1',
  act: 'ffn.activation',
  down: 'ffn.lin2',
  mlpNorm: 'output_layer_norm',
}

/** DistilBERT and the sentence encoders made of it: BERT without kinds of tokens. */
export const distilbert: Family = { modelTypes: ['distilbert'], task: 'encoder', ties: () => new Map(), build }

function readConfig(config: ConfigReader): Encoder {
  const [hidden, heads] = [config.size('dim', 768), config.size('n_heads', 12)]
  checkHeads(hidden, heads, ['dim', 'n_heads'])
  return { hidden, heads, inner: config.size('hidden_dim', 3072), epsilon: 1e-12, act: config.text('activation', 'gelu'), names: NAMES }
}

function build(raw: Config, weights: StateDict, { pooling = MEAN }: BuildOptions): ModelProto {
  const config = new ConfigReader(raw)
  const encoder = readConfig(config)
  const { hidden, epsilon } = encoder
  const graph = new GraphBuilder('distilbert', weights)
  const root = graph.module('')
  const model = graph.module(weights.has('distilbert.embeddings.word_embeddings.weight') ? 'distilbert' : '')
  const tokens = ['batch', 'sequence']
  const ids = graph.input('input_ids', 'I64', tokens)
  const mask = graph.input('attention_mask', 'I64', tokens)

  const embed = model.child('embeddings')
  const words = embedding(embed.child('word_embeddings'), ids, config.size('vocab_size', 30522), hidden)
  // Sines, where config.json says so, are stored as any other table.
  const where = learnedPositions(embed.child('position_embeddings'), ids, config.size('max_position_embeddings', 512), hidden)
  let x = layerNorm(embed.child('LayerNorm'), embed.op('Add', [words, where]), hidden, epsilon) // (batch, sequence, hidden)
  const seen = paddingMask(model.child('mask'), mask)
  const layers = config.size('n_layers', 6)
  for (let n = 0; n < layers; n++)
    x = encoderLayer(model.child(`transformer.layer.${n}`), encoder, x, seen, n === layers - 1 ? 'last_hidden_state' : undefined)
  graph.output(x)
  graph.output(pool(root.child('pooling'), x, mask, pooling, hidden))
  return graph.finish()
}
