import { GraphBuilder, type Module, type Value } from '../src/graph/build.js'
import type { ModelProto } from '../src/graph/generated/onnx_pb.js'
import { embedding, layerNorm, linear } from '../src/graph/modules.js'
import type { StateDict } from '../src/graph/weights.js'
import { activation } from './activation.js'
import { CausalMask, cachedAttention, decoderInputs } from './attention.js'
import { badConfig, type Config, ConfigReader } from './config.js'
import { type Family, namesOf } from './family.js'
import { type Rotary, RotaryTables, rotate } from './rotary.js'
import { turnOf } from './turn.js'

interface GptNeox {
  readonly hidden: number
  readonly inner: number
  readonly heads: number
  readonly headDim: number
  readonly epsilon: number
  readonly act: string
  readonly bias: boolean
  /** attention and MLP both work on what the layer is given */
  readonly parallel: boolean
}

/** GPT-NeoX and Pythia: LayerNorm, heads turned in part, attention and MLP side by side. */
export const gptNeox: Family = { modelTypes: ['gpt_neox'], task: 'decoder', ties, build }

/** `gpt_neox`, or nothing for a checkpoint of the bare model. */
function prefixOf(names: ReadonlySet<string>): string {
  return names.has('embed_in.weight') && !names.has('gpt_neox.embed_in.weight') ? '' : 'gpt_neox'
}

/** What files call `embed_out` is `lm_head` in some. */
function headOf(names: ReadonlySet<string>): string {
  return names.has('lm_head.weight') && !names.has('embed_out.weight') ? 'lm_head' : 'embed_out'
}

function ties(config: Config, names: ReadonlySet<string>): ReadonlyMap<string, string> {
  const [embed, head] = [prefixOf(names) === '' ? 'embed_in.weight' : 'gpt_neox.embed_in.weight', `${headOf(names)}.weight`]
  if (!new ConfigReader(config).flag('tie_word_embeddings', false)) return new Map()
  if (names.has(embed)) return new Map([[head, embed]])
  return names.has(head) ? new Map([[embed, head]]) : new Map()
}

function readConfig(config: ConfigReader): GptNeox {
  const [hidden, heads] = [config.size('hidden_size', 6144), config.size('num_attention_heads', 64)]
  if (hidden % heads !== 0) throw badConfig(`hidden_size ${hidden} is not a multiple of num_attention_heads ${heads}`)
  return {
    hidden,
    heads,
    headDim: hidden / heads,
    inner: config.size('intermediate_size', 24576),
    epsilon: config.positive('layer_norm_eps', 1e-5),
    act: config.text('hidden_act', 'gelu'),
    bias: config.flag('attention_bias', true),
    parallel: config.flag('use_parallel_residual', true),
  }
}

function build(raw: Config, weights: StateDict): ModelProto {
  const config = new ConfigReader(raw)
  const gpt = readConfig(config)
  const [vocab, layers] = [config.size('vocab_size', 50432), config.size('num_hidden_layers', 44)]
  const usual = { theta: config.positive('rotary_emb_base', 10000), partial: config.positive('rotary_pct', 0.25) }
  const names = namesOf(weights)
  const graph = new GraphBuilder('gpt_neox', weights, ties(raw, names))
  const root = graph.module('')
  const model = graph.module(prefixOf(names))
  const inputs = decoderInputs(root)

  let x = embedding(model.child('embed_in'), inputs.ids, vocab, gpt.hidden) // (batch, sequence, hidden)
  const rotary = new RotaryTables(model.child('rotary_emb'), inputs.positions).of(turnOf(config, gpt.headDim, usual))
  const mask = new CausalMask(model.child('mask'), inputs).of(undefined)
  for (let n = 0; n < layers; n++) x = layer(model.child(`layers.${n}`), gpt, n, x, rotary, mask)
  x = layerNorm(model.child('final_layer_norm'), x, gpt.hidden, gpt.epsilon)
  graph.output(linear(root.child(headOf(names)), x, { inputs: gpt.hidden, outputs: vocab, bias: false, name: 'logits' }))
  return graph.finish()
}

/** x (batch, sequence, hidden) -> the same. */
function layer(module: Module, gpt: GptNeox, index: number, x: Value, turn: Rotary, mask: Value): Value {
  const { hidden, epsilon, parallel } = gpt
  const normed = layerNorm(module.child('input_layernorm'), x, hidden, epsilon)
  const y = module.op('Add', [x, selfAttention(module.child('attention'), gpt, index, normed, turn, mask)])
  const made = mlp(module.child('mlp'), gpt, layerNorm(module.child('post_attention_layernorm'), parallel ? x : y, hidden, epsilon))
  return module.op('Add', [y, made])
}

function mlp(module: Module, { hidden, inner, act }: GptNeox, x: Value): Value {
  const wide = linear(module.child('dense_h_to_4h'), x, { inputs: hidden, outputs: inner, bias: true })
  return linear(module.child('dense_4h_to_h'), activation(module.child('act'), act, wide), { inputs: inner, outputs: hidden, bias: true })
}

/** The product gives query, key and value of one head, then those of the next. */
function selfAttention(module: Module, gpt: GptNeox, index: number, x: Value, turn: Rotary, mask: Value): Value {
  const { hidden, heads, headDim, bias } = gpt
  const qkv = linear(module.child('query_key_value'), x, { inputs: hidden, outputs: 3 * hidden, bias })
  const byHead = { dims: ['batch', 'sequence', heads, 3 * headDim] }
  const cut = module.op('Reshape', [qkv, module.integers(0, 0, heads, 3 * headDim)], {}, byHead)
  const third = { dims: ['batch', 'sequence', heads, headDim] }
  const parts = module.ops('Split', [cut], { axis: -1n, num_outputs: 3n }, [third, third, third])
  const together = { dims: ['batch', 'sequence', hidden] }
  const [q, k, v] = parts.map((part) => module.op('Reshape', [part, module.integers(0, 0, hidden)], {}, together))
  const turned = [rotate(module, q!, turn, heads), rotate(module, k!, turn, heads), v!] as const
  const y = cachedAttention(module, index, turned, mask, { heads, kvHeads: heads, headDim, scale: headDim ** -0.5 })
  return linear(module.child('dense'), y, { inputs: hidden, outputs: hidden, bias })
}
