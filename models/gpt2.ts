import { AssetError } from '../src/core/errors.js'
import { GraphBuilder, type Module, type Value } from '../src/graph/build.js'
import type { ModelProto } from '../src/graph/generated/onnx_pb.js'
import { conv1d, embedding, layerNorm, linear } from '../src/graph/modules.js'
import type { StateDict } from '../src/graph/weights.js'
import { activation } from './activation.js'
import { CausalMask, cachedAttention, decoderInputs } from './attention.js'
import { badConfig, type Config, ConfigReader } from './config.js'
import { type Family, namesOf } from './family.js'

interface Gpt2 {
  readonly hidden: number
  readonly inner: number
  readonly heads: number
  readonly headDim: number
  readonly epsilon: number
  readonly act: string
  scale(layer: number): number
}

/** GPT-2 and DistilGPT-2: learned positions, LayerNorm, Conv1D modules. */
export const gpt2: Family = { modelTypes: ['gpt2'], task: 'decoder', ties, build }

/** `transformer`, or nothing for the original checkpoints, which are of the bare model. */
function prefixOf(names: ReadonlySet<string>): string {
  return names.has('wte.weight') && !names.has('transformer.wte.weight') ? '' : 'transformer'
}

function ties(config: Config, names: ReadonlySet<string>): ReadonlyMap<string, string> {
  const [embed, head] = [prefixOf(names) === '' ? 'wte.weight' : 'transformer.wte.weight', 'lm_head.weight']
  if (!new ConfigReader(config).flag('tie_word_embeddings', true)) return new Map()
  if (names.has(embed)) return new Map([[head, embed]])
  return names.has(head) ? new Map([[embed, head]]) : new Map()
}

function readConfig(config: ConfigReader): Gpt2 {
  if (config.flag('add_cross_attention', false))
    throw new AssetError('UNSUPPORTED', 'Cannot build the graph: gpt2 with add_cross_attention is not supported')
  const [hidden, heads] = [config.size('n_embd', 768), config.size('n_head', 12)]
  if (hidden % heads !== 0) throw badConfig(`n_embd ${hidden} is not a multiple of n_head ${heads}`)
  const headDim = hidden / heads
  const scale = config.flag('scale_attn_weights', true) ? headDim ** -0.5 : 1
  const byLayer = config.flag('scale_attn_by_inverse_layer_idx', false)
  return {
    hidden,
    heads,
    headDim,
    inner: config.size('n_inner', 4 * hidden),
    epsilon: config.positive('layer_norm_epsilon', 1e-5),
    act: config.text('activation_function', 'gelu_new'),
    scale: (layer) => (byLayer ? scale / (layer + 1) : scale),
  }
}

function build(raw: Config, weights: StateDict): ModelProto {
  const config = new ConfigReader(raw)
  const gpt = readConfig(config)
  const [vocab, positions, layers] = [config.size('vocab_size', 50257), config.size('n_positions', 1024), config.size('n_layer', 12)]
  const names = namesOf(weights)
  const graph = new GraphBuilder('gpt2', weights, ties(raw, names))
  const root = graph.module('')
  const model = graph.module(prefixOf(names))
  const inputs = decoderInputs(root)

  const tokens = embedding(model.child('wte'), inputs.ids, vocab, gpt.hidden)
  let x = model.op('Add', [tokens, embedding(model.child('wpe'), inputs.positions, positions, gpt.hidden)]) // (batch, sequence, hidden)
  const mask = new CausalMask(model.child('mask'), inputs).of(undefined)
  for (let n = 0; n < layers; n++) x = layer(model.child(`h.${n}`), gpt, n, x, mask)
  x = layerNorm(model.child('ln_f'), x, gpt.hidden, gpt.epsilon)
  graph.output(linear(root.child('lm_head'), x, { inputs: gpt.hidden, outputs: vocab, bias: false, name: 'logits' }))
  return graph.finish()
}

/** x (batch, sequence, hidden) -> the same. */
function layer(module: Module, gpt: Gpt2, index: number, x: Value, mask: Value): Value {
  const { hidden, inner, epsilon } = gpt
  const y = module.op('Add', [
    x,
    selfAttention(module.child('attn'), gpt, index, layerNorm(module.child('ln_1'), x, hidden, epsilon), mask),
  ])
  const mlp = module.child('mlp')
  const wide = conv1d(mlp.child('c_fc'), layerNorm(module.child('ln_2'), y, hidden, epsilon), {
    inputs: hidden,
    outputs: inner,
    bias: true,
  })
  const act = activation(mlp.child('act'), gpt.act, wide)
  return module.op('Add', [y, conv1d(mlp.child('c_proj'), act, { inputs: inner, outputs: hidden, bias: true })])
}

function selfAttention(module: Module, gpt: Gpt2, index: number, x: Value, mask: Value): Value {
  const { hidden, heads, headDim } = gpt
  const qkv = conv1d(module.child('c_attn'), x, { inputs: hidden, outputs: 3 * hidden, bias: true }) // (batch, sequence, 3 * hidden)
  const third = { dims: ['batch', 'sequence', hidden] }
  const [q, k, v] = module.ops('Split', [qkv], { axis: -1n, num_outputs: 3n }, [third, third, third])
  const y = cachedAttention(module, index, [q!, k!, v!], mask, { heads, kvHeads: heads, headDim, scale: gpt.scale(index) })
  return conv1d(module.child('c_proj'), y, { inputs: hidden, outputs: hidden, bias: true })
}
