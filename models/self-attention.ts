import type { Module, Value } from '../src/graph/build.js'
import { linear, rmsNorm } from '../src/graph/modules.js'
import { cachedAttention } from './attention.js'
import type { Decoder } from './decoder-traits.js'
import { type Rotary, rotate } from './rotary.js'

/** Attention of a Llama-like decoder layer: x (batch, sequence, hidden) -> the same. */
export function selfAttention(module: Module, decoder: Decoder, index: number, x: Value, turn: Rotary, mask: Value): Value {
  const { hidden, heads, kvHeads, headDim, qkvBias: bias = false, outputBias = false } = decoder
  const [wide, narrow] = [heads * headDim, kvHeads * headDim]
  let q = linear(module.child('q_proj'), x, { inputs: hidden, outputs: wide, bias }) // (batch, sequence, heads * head_dim)
  let k = linear(module.child('k_proj'), x, { inputs: hidden, outputs: narrow, bias }) // (batch, sequence, kv_heads * head_dim)
  const v = linear(module.child('v_proj'), x, { inputs: hidden, outputs: narrow, bias })
  if (decoder.headNorm) {
    q = headNorm(module.child('q_norm'), decoder, q, heads)
    k = headNorm(module.child('k_norm'), decoder, k, kvHeads)
  }
  const turned = [rotate(module, q, turn, heads), rotate(module, k, turn, kvHeads), v] as const
  const y = cachedAttention(module, index, turned, mask, decoder)
  return linear(module.child('o_proj'), y, { inputs: wide, outputs: hidden, bias: outputBias })
}

/** RMSNorm of every head of x (batch, sequence, heads * head_dim) by itself. */
function headNorm(module: Module, { headDim, epsilon }: Decoder, x: Value, heads: number): Value {
  const split = module.op('Reshape', [x, module.integers(0, 0, heads, headDim)], {}, { dims: ['batch', 'sequence', heads, headDim] })
  const normed = rmsNorm(module, split, headDim, epsilon)
  return module.op('Reshape', [normed, module.integers(0, 0, heads * headDim)], {}, { dims: ['batch', 'sequence', heads * headDim] })
}
