import type { Module, Value } from '../src/graph/build.js'
import { embedding, layerNorm, linear } from '../src/graph/modules.js'
import { activation } from './activation.js'
import { attention } from './attention.js'
import { badConfig, type ConfigReader } from './config.js'

/** The encoder that BERT made common: attention and MLP, a LayerNorm at each, biases everywhere. */
export interface Encoder {
  readonly hidden: number
  readonly inner: number
  readonly heads: number
  readonly epsilon: number
  readonly act: string
  /** what a family calls the modules of a layer */
  readonly names: EncoderNames
  /** norms are of what attention and MLP are given, not of the sum with what they give */
  readonly normsFirst?: boolean
  /** biases of queries, keys and values; there when left out */
  readonly qkvBias?: boolean
}

/** Keys of modules within a layer. */
export interface EncoderNames {
  readonly query: string
  readonly key: string
  readonly value: string
  readonly output: string
  readonly attentionNorm: string
  readonly up: string
  readonly act: string
  readonly down: string
  readonly mlpNorm: string
}

/** @throws AssetError 'BAD_INPUT' where heads don't divide a row */
export function checkHeads(hidden: number, heads: number, keys = ['hidden_size', 'num_attention_heads']): void {
  if (hidden % heads !== 0) throw badConfig(`${keys[0]} ${hidden} is not a multiple of ${keys[1]} ${heads}`)
}

/** The sizes of an encoder whose config.json has BERT's words for them. @throws AssetError 'BAD_INPUT' for those that can't be */
export function bertSizes(config: ConfigReader): Pick<Encoder, 'hidden' | 'heads' | 'inner' | 'epsilon' | 'act'> {
  const [hidden, heads] = [config.size('hidden_size', 768), config.size('num_attention_heads', 12)]
  checkHeads(hidden, heads)
  return {
    hidden,
    heads,
    inner: config.size('intermediate_size', 3072),
    epsilon: config.positive('layer_norm_eps', 1e-12),
    act: config.text('hidden_act', 'gelu'),
  }
}

/** The rows of a position table for the tokens of `ids` (batch, sequence), counted from 0: (sequence, hidden). */
export function learnedPositions(positions: Module, ids: Value, rows: number, hidden: number): Value {
  const length = positions.op('Squeeze', [positions.op('Shape', [ids], { start: 1n, end: 2n }, { dims: [1] })], {}, { dims: [] })
  const places = positions.op('Range', [positions.integer(0), length, positions.integer(1)], {}, { dims: ['sequence'] })
  return embedding(positions, places, rows, hidden)
}

/** Which tokens are real, BOOL (batch, 1, 1, keys), from the mask I64 (batch, keys). */
export function realKeys(module: Module, mask: Value): Value {
  const real = module.cast(mask, 'BOOL')
  return module.op('Unsqueeze', [real, module.integers(1, 2)], {}, { dims: ['batch', 1, 1, mask.dims![1]!] })
}

/** Which token each token sees, BOOL (batch, 1, sequence, sequence): the real ones, from the mask I64 (batch, sequence). */
export function paddingMask(module: Module, mask: Value): Value {
  return writtenOut(module, realKeys(module, mask), mask)
}

/** `keys` BOOL (batch, 1, 1, keys) once for each of the `queries` (batch, queries): (batch, 1, queries, keys). */
export function writtenOut(module: Module, keys: Value, queries: Value): Value {
  const length = module.op('Shape', [queries], { start: 1n, end: 2n }, { dims: [1] })
  // Attention of opset 23 does not broadcast the rows of a mask in ONNX Runtime, so they are written out, once for all layers.
  const shape = module.op('Concat', [module.integers(1, 1), length, module.integers(1)], { axis: 0n }, { dims: [4] })
  return module.op('Expand', [keys, shape], {}, { dims: ['batch', 1, queries.dims![1]!, keys.dims![3]!] })
}

/** x (batch, sequence, hidden) -> the same; `name` is that of the value that it gives, where norms come last. */
export function encoderLayer(module: Module, encoder: Encoder, x: Value, mask: Value | undefined, name?: string): Value {
  const { hidden, inner, epsilon, names, normsFirst } = encoder
  const norm = (key: string, value: Value, named?: string) => layerNorm(module.child(key), value, hidden, epsilon, named)
  const attended = selfAttention(module, encoder, normsFirst ? norm(names.attentionNorm, x) : x, mask)
  const sum = parentOf(module, names.attentionNorm).op('Add', [attended, x])
  const y = normsFirst ? sum : norm(names.attentionNorm, sum)
  const wide = linear(module.child(names.up), normsFirst ? norm(names.mlpNorm, y) : y, { inputs: hidden, outputs: inner, bias: true })
  const act = activation(module.child(names.act), encoder.act, wide)
  const narrow = linear(module.child(names.down), act, { inputs: inner, outputs: hidden, bias: true })
  const made = parentOf(module, names.mlpNorm).op('Add', [narrow, y])
  return normsFirst ? made : norm(names.mlpNorm, made, name)
}

function selfAttention(module: Module, { hidden, heads, names, qkvBias = true }: Encoder, x: Value, mask: Value | undefined): Value {
  const product = (key: string) => linear(module.child(key), x, { inputs: hidden, outputs: hidden, bias: qkvBias })
  const [q, k, v] = [product(names.query), product(names.key), product(names.value)]
  const headDim = hidden / heads
  const sizes = { heads, kvHeads: heads, headDim, scale: headDim ** -0.5 }
  const y = attention(parentOf(module, names.query), q, k, v, mask, sizes)
  return linear(module.child(names.output), y, { inputs: hidden, outputs: hidden, bias: true })
}

/** The module that holds the one with this key. */
function parentOf(module: Module, key: string): Module {
  const end = key.lastIndexOf('.')
  return end < 0 ? module : module.child(key.slice(0, end))
}
