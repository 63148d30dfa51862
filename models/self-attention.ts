import type { Module, Value } from '../src/graph/build.js'
import { linear, rmsNorm, split } from '../src/graph/modules.js'
import { cachedAttention } from './attention.js'
import type { Decoder } from './decoder-traits.js'
import { type Rotary, rotate } from './rotary.js'

type QKV = readonly [q: Value, k: Value, v: Value]

/** Attention of a Llama-like decoder layer: x (batch, sequence, hidden) -> the same. */
export function selfAttention(module: Module, decoder: Decoder, index: number, x: Value, turn: Rotary | undefined, mask: Value): Value {
  const { hidden, heads, kvHeads, headDim, epsilon, clip, outputBias: bias = false } = decoder
  let [q, k, v] = queriesKeysValues(module, decoder, x)
  if (decoder.headNorm) {
    q = headNorm(module.child('q_norm'), decoder, q, heads)
    k = headNorm(module.child('k_norm'), decoder, k, kvHeads)
  }
  if (decoder.wholeNorm) {
    q = rmsNorm(module.child('q_norm'), q, heads * headDim, epsilon)
    k = rmsNorm(module.child('k_norm'), k, kvHeads * headDim, epsilon)
  }
  if (clip !== undefined) [q, k, v] = [clipped(module, q, clip), clipped(module, k, clip), clipped(module, v, clip)]
  const turned = turn ? ([rotate(module, q, turn, heads), rotate(module, k, turn, kvHeads), v] as const) : ([q, k, v] as const)
  const y = cachedAttention(module, index, turned, mask, decoder)
  return linear(module.child('o_proj'), y, { inputs: heads * headDim, outputs: hidden, bias })
}

function clipped(module: Module, x: Value, clip: number): Value {
  return module.op('Clip', [x, module.scalar(-clip), module.scalar(clip)])
}

/** (batch, sequence, heads * head_dim), and twice (batch, sequence, kv_heads * head_dim). */
function queriesKeysValues(module: Module, decoder: Decoder, x: Value): QKV {
  const { hidden, heads, kvHeads, headDim, qkvBias: bias = false } = decoder
  const [wide, narrow] = [heads * headDim, kvHeads * headDim]
  const product = (name: string, outputs: number) => linear(module.child(name), x, { inputs: hidden, outputs, bias })
  if (!decoder.fused) return [product('q_proj', wide), product('k_proj', narrow), product('v_proj', narrow)]
  const [q, k, v] = split(module, product('qkv_proj', wide + 2 * narrow), [wide, narrow, narrow])
  return [q!, k!, v!]
}

/** RMSNorm of every head of x (batch, sequence, heads * head_dim) by itself. */
function headNorm(module: Module, { headDim, epsilon, centredNorms }: Decoder, x: Value, heads: number): Value {
  const cut = module.op('Reshape', [x, module.integers(0, 0, heads, headDim)], {}, { dims: ['batch', 'sequence', heads, headDim] })
  const normed = rmsNorm(module, cut, headDim, epsilon, centredNorms)
  return module.op('Reshape', [normed, module.integers(0, 0, heads * headDim)], {}, { dims: ['batch', 'sequence', heads * headDim] })
}
