import { AssetError } from '../src/core/errors.js'
import { GraphBuilder, type Module, type Value } from '../src/graph/build.js'
import type { ModelProto } from '../src/graph/generated/onnx_pb.js'
import { layerNorm, linear } from '../src/graph/modules.js'
import type { StateDict } from '../src/graph/weights.js'
import { badConfig, type Config, ConfigReader } from './config.js'
import { bertSizes, type Encoder, type EncoderNames, encoderLayer } from './encoder.js'
import type { Family } from './family.js'

const NAMES: EncoderNames = {
  query: 'attention.attention.query',
  key: 'attention.attention.key',
  value: 'attention.attention.value',
  output: 'attention.output.dense',
  attentionNorm: 'layernorm_before',
  up: 'intermediate.dense',
  act: 'intermediate.intermediate_act_fn',
  down: 'output.dense',
  mlpNorm: 'layernorm_after',
}

/**
 * The vision transformer: `pixel_values` F32 (batch, channels, height, width), of one size, normalised as
 * preprocessor_config.json says -> `last_hidden_state` F32 (batch, patches + 1, hidden), and `logits` F32 (batch, labels) for a classifier.
 */
export const vit: Family = { modelTypes: ['vit'], task: 'encoder', ties: () => new Map(), build }

function readConfig(config: ConfigReader): Encoder {
  return { ...bertSizes(config), qkvBias: config.flag('qkv_bias', true), normsFirst: true, names: NAMES }
}

function build(raw: Config, weights: StateDict): ModelProto {
  const config = new ConfigReader(raw)
  const encoder = readConfig(config)
  const { hidden, epsilon } = encoder
  const graph = new GraphBuilder('vit', weights)
  const root = graph.module('')
  const model = graph.module(weights.has('vit.embeddings.cls_token') ? 'vit' : '')
  let x = embeddings(model.child('embeddings'), config, hidden) // (batch, patches + 1, hidden)
  const layers = config.size('num_hidden_layers', 12)
  for (let n = 0; n < layers; n++) x = encoderLayer(model.child(`encoder.layer.${n}`), encoder, x, undefined)
  x = layerNorm(model.child('layernorm'), x, hidden, epsilon, 'last_hidden_state')
  graph.output(x)
  const labels = weights.get('classifier.weight')?.shape[0]
  if (labels === undefined) return graph.finish()
  const first = root.op('Gather', [x, root.integer(0)], { axis: 1n }, { dims: ['batch', hidden] })
  graph.output(linear(root.child('classifier'), first, { inputs: hidden, outputs: labels, bias: true, name: 'logits' }))
  return graph.finish()
}

/** One row for each patch of an image, after that of the class token; positions are added. */
function embeddings(module: Module, config: ConfigReader, hidden: number): Value {
  const [size, patch, channels] = [squareOf(config, 'image_size', 224), squareOf(config, 'patch_size', 16), config.size('num_channels', 3)]
  if (patch > size) throw badConfig(`patch_size ${patch} is more than image_size ${size}`)
  const patches = Math.floor(size / patch) ** 2
  const pixels = module.graph.input('pixel_values', 'F32', ['batch', channels, size, size])
  const projection = module.child('patch_embeddings.projection')
  const kernel = projection.parameter('weight', [hidden, channels, patch, patch])
  const strides = { kernel_shape: [BigInt(patch), BigInt(patch)], strides: [BigInt(patch), BigInt(patch)] }
  const grid = Math.floor(size / patch)
  const cut = projection.op('Conv', [pixels, kernel, projection.parameter('bias', [hidden])], strides, {
    dims: ['batch', hidden, grid, grid],
  })
  const flat = module.op('Reshape', [cut, module.integers(0, hidden, patches)], {}, { dims: ['batch', hidden, patches] })
  const rows = module.op('Transpose', [flat], { perm: [0n, 2n, 1n] }, { dims: ['batch', patches, hidden] })
  const batch = module.op('Shape', [pixels], { start: 0n, end: 1n }, { dtype: 'I64', dims: [1] })
  const shape = module.op('Concat', [batch, module.integers(1, hidden)], { axis: 0n }, { dims: [3] })
  const token = module.op('Expand', [module.parameter('cls_token', [1, 1, hidden]), shape], {}, { dims: ['batch', 1, hidden] })
  const all = module.op('Concat', [token, rows], { axis: 1n }, { dims: ['batch', patches + 1, hidden] })
  return module.op('Add', [all, module.parameter('position_embeddings', [1, patches + 1, hidden])])
}

/** The side of a square. @throws AssetError 'UNSUPPORTED' for two of them */
function squareOf(config: ConfigReader, key: string, usual: number): number {
  if (config.isList(key)) throw new AssetError('UNSUPPORTED', `Cannot build the graph: ${key} as a list is not supported for this family`)
  return config.size(key, usual)
}
