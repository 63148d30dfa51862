import type { Module, Value } from '../src/graph/build.js'
import { linear, split } from '../src/graph/modules.js'
import { activation } from './activation.js'

/** Sizes of a row and of what is between, and the activation. */
export interface GatedMlp {
  readonly hidden: number
  readonly inner: number
  readonly act: string
  readonly mlpBias?: boolean
  /** gate and up are one product, gate_up_proj */
  readonly fused?: boolean
  /** what the products are called; gate_proj, up_proj and down_proj when left out */
  readonly names?: { readonly gate: string; readonly up: string; readonly down: string }
}

/** What the products are called in most families. */
export const NAMES = { gate: 'gate_proj', up: 'up_proj', down: 'down_proj' }

/** x (..., hidden) -> the same: down_proj(act(gate_proj(x)) * up_proj(x)). */
export function gatedMlp(module: Module, mlp: GatedMlp, x: Value): Value {
  const { hidden, inner, act, mlpBias: bias = false, fused = false, names = NAMES } = mlp
  const wide = (name: string, outputs: number) => linear(module.child(name), x, { inputs: hidden, outputs, bias })
  const both = fused ? split(module, wide('gate_up_proj', 2 * inner), [inner, inner]) : []
  const gate = activation(module.child('act_fn'), act, both[0] ?? wide(names.gate, inner))
  const up = both[1] ?? wide(names.up, inner)
  return linear(module.child(names.down), module.op('Mul', [gate, up]), { inputs: inner, outputs: hidden, bias })
}
