import { GraphBuilder, type Module, type Value } from '../src/graph/build.js'
import type { ModelProto } from '../src/graph/generated/onnx_pb.js'
import { embedding, linear, rmsNorm } from '../src/graph/modules.js'
import { CausalMask, decoderInputs } from './attention.js'
import { badConfig, type Config, ConfigReader } from './config.js'
import type { Decoder, DecoderTraits } from './decoder-traits.js'
import { routedExperts } from './experts.js'
import { type Family, namesOf } from './family.js'
import { gatedMlp } from './gated-mlp.js'
import { type Rotary, RotaryTables } from './rotary.js'
import { selfAttention } from './self-attention.js'
import { type Turn, turnOf } from './turn.js'

/**
 * Makes a family of Llama-like decoders from what its config.json says about its traits. `tied` says whether embedding and output
 * head are one tensor where config.json does not.
 */
export function decoderFamily(modelType: string, traits: (config: ConfigReader) => DecoderTraits, tied = false): Family {
  const ties = (config: Config, names: ReadonlySet<string>) => decoderTies(config, names, tied)
  return {
    modelTypes: [modelType],
    task: 'decoder',
    ties,
    build(config, weights) {
      const graph = new GraphBuilder(modelType, weights, ties(config, namesOf(weights)))
      return buildDecoder(graph, new ConfigReader(config), prefixOf(namesOf(weights)), traits(new ConfigReader(config)))
    },
  }
}

/** `model.`, or nothing for a checkpoint of the bare model. */
function prefixOf(names: ReadonlySet<string>): string {
  return names.has('embed_tokens.weight') && !names.has('model.embed_tokens.weight') ? '' : 'model'
}

function decoderTies(config: Config, names: ReadonlySet<string>, usual: boolean): ReadonlyMap<string, string> {
  const [embed, head] = [prefixOf(names) === '' ? 'embed_tokens.weight' : 'model.embed_tokens.weight', 'lm_head.weight']
  if (!new ConfigReader(config).flag('tie_word_embeddings', usual)) return new Map()
  if (names.has(embed)) return new Map([[head, embed]])
  return names.has(head) ? new Map([[embed, head]]) : new Map()
}

function buildDecoder(graph: GraphBuilder, config: ConfigReader, prefix: string, traits: DecoderTraits): ModelProto {
  const decoder = decoderOf(config, traits)
  const { hidden, turn, embeddingScale } = decoder
  const vocab = config.size('vocab_size')
  const layers = config.size('num_hidden_layers')
  const root = graph.module('')
  const model = graph.module(prefix)
  const inputs = decoderInputs(root)

  const embed = model.child('embed_tokens')
  let x = embedding(embed, inputs.ids, vocab, hidden) // (batch, sequence, hidden)
  if (embeddingScale !== undefined) x = embed.op('Mul', [x, embed.scalar(embeddingScale)])
  const tables = new RotaryTables(model.child('rotary_emb'), inputs.positions)
  const rotary = (layer: number) => {
    const how = turn(layer)
    return how && tables.of(how)
  }
  rotary(0) // before the mask, as it always was: the bytes of a graph are part of an asset's CID
  const mask = new CausalMask(model.child('mask'), inputs)
  // Bounded by the weights, not by the number in config.json: a layer without weights ends it.
  for (let n = 0; n < layers; n++) x = layer(model.child(`layers.${n}`), decoder, n, x, rotary(n), mask.of(decoder.window?.(n)))
  x = rmsNorm(model.child('norm'), x, hidden, decoder.epsilon, decoder.centredNorms)
  graph.output(head(root, decoder, x, vocab))
  return graph.finish()
}

function decoderOf(config: ConfigReader, traits: DecoderTraits): Decoder & { turn(layer: number): Turn | undefined } {
  const heads = config.size('num_attention_heads')
  if (heads % traits.kvHeads !== 0)
    throw badConfig(`num_attention_heads ${heads} is not a multiple of num_key_value_heads ${traits.kvHeads}`)
  const usual = traits.turn ? undefined : turnOf(config, traits.headDim)
  return {
    scale: traits.headDim ** -0.5,
    turn: () => usual,
    ...traits,
    heads,
    hidden: config.size('hidden_size'),
    inner: config.size('intermediate_size'),
    epsilon: config.positive('rms_norm_eps', traits.usualEpsilon ?? 1e-6),
    act: traits.act ?? config.text('hidden_act', 'silu'),
  }
}

/** x (batch, sequence, hidden) -> the same. */
function layer(module: Module, decoder: Decoder, index: number, x: Value, turn: Rotary | undefined, mask: Value): Value {
  const { hidden, epsilon, centredNorms, postNorms } = decoder
  const norm = (name: string, value: Value) => rmsNorm(module.child(name), value, hidden, epsilon, centredNorms)
  const attended = selfAttention(module.child('self_attn'), decoder, index, norm('input_layernorm', x), turn, mask)
  const y = module.op('Add', [x, postNorms ? norm('post_attention_layernorm', attended) : attended])
  const made = feedForward(module, decoder, index, norm(postNorms ? 'pre_feedforward_layernorm' : 'post_attention_layernorm', y))
  return module.op('Add', [y, postNorms ? norm('post_feedforward_layernorm', made) : made])
}

function feedForward(layer: Module, decoder: Decoder, index: number, x: Value): Value {
  const { experts } = decoder
  if (!experts || experts.isSparse?.(index) === false) return gatedMlp(layer.child('mlp'), decoder, x)
  return routedExperts(layer.child(experts.module ?? 'mlp'), experts, decoder, x)
}

/** x (batch, sequence, hidden) -> `logits` (batch, sequence, vocab). */
function head(root: Module, { hidden, logitCap: cap }: Decoder, x: Value, vocab: number): Value {
  const shape = { inputs: hidden, outputs: vocab, bias: false }
  if (cap === undefined) return linear(root.child('lm_head'), x, { ...shape, name: 'logits' })
  const part = root.op('Div', [linear(root.child('lm_head'), x, shape), root.scalar(cap)])
  return root.op('Mul', [root.op('Tanh', [part]), root.scalar(cap)], {}, { name: 'logits' })
}
