import { GraphBuilder, type Module, type Value } from '../src/graph/build.js'
import type { ModelProto } from '../src/graph/generated/onnx_pb.js'
import { embedding, linear, rmsNorm } from '../src/graph/modules.js'
import type { StateDict } from '../src/graph/weights.js'
import { CausalMask, decoderInputs } from './attention.js'
import { badConfig, type Config, ConfigReader } from './config.js'
import type { Decoder, DecoderTraits } from './decoder-traits.js'
import { type Family, namesOf } from './family.js'
import { gatedMlp } from './gated-mlp.js'
import { inverseFrequencies, type Rotary, rotary } from './rotary.js'
import { selfAttention } from './self-attention.js'

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

function buildDecoder(raw: Config, weights: StateDict, traits: DecoderTraits): ModelProto {
  const config = new ConfigReader(raw)
  const heads = config.size('num_attention_heads')
  if (heads % traits.kvHeads !== 0)
    throw badConfig(`num_attention_heads ${heads} is not a multiple of num_key_value_heads ${traits.kvHeads}`)
  const decoder: Decoder = {
    scale: traits.headDim ** -0.5,
    ...traits,
    heads,
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
  for (let n = 0; n < layers; n++) x = layer(model.child(`layers.${n}`), decoder, n, x, turn, mask.of(decoder.window?.(n)))
  x = rmsNorm(model.child('norm'), x, decoder.hidden, decoder.epsilon)
  graph.output(linear(root.child('lm_head'), x, { inputs: decoder.hidden, outputs: vocab, bias: false, name: 'logits' }))
  return graph.finish()
}

/** x (batch, sequence, hidden) -> the same. */
function layer(module: Module, decoder: Decoder, index: number, x: Value, turn: Rotary, mask: Value): Value {
  const { hidden, epsilon } = decoder
  const normed = rmsNorm(module.child('input_layernorm'), x, hidden, epsilon)
  const y = module.op('Add', [x, selfAttention(module.child('self_attn'), decoder, index, normed, turn, mask)])
  return module.op('Add', [
    y,
    gatedMlp(module.child('mlp'), decoder, rmsNorm(module.child('post_attention_layernorm'), y, hidden, epsilon)),
  ])
}
