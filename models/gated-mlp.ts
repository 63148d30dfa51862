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
}

/** x (..., hidden) -> the same: down_proj(act(gate_proj(x)) * up_proj(x)). */
export function gatedMlp(module: Module, { hidden, inner, act, mlpBias: bias = false, fused = false }: GatedMlp, x: Value): Value {
  const wide = (name: string, outputs: number) => linear(module.child(name), x, { inputs: hidden, outputs, bias })
  const both = fused ? split(module, wide('gate_up_proj', 2 * inner), [inner, inner]) : []
  const gate = activation(module.child('act_fn'), act, both[0] ?? wide('gate_proj', inner))
  const up = both[1] ?? wide('up_proj', inner)
  return linear(module.child('down_proj'), module.op('Mul', [gate, up]), { inputs: inner, outputs: hidden, bias })
}
