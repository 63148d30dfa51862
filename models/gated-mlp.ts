import type { Module, Value } from '../src/graph/build.js'
import { linear } from '../src/graph/modules.js'
import { activation } from './activation.js'

/** Sizes of a row and of what is between, the activation, and whether there are biases. */
export interface GatedMlp {
  readonly hidden: number
  readonly inner: number
  readonly act: string
  readonly mlpBias?: boolean
}

/** x (..., hidden) -> the same: down_proj(act(gate_proj(x)) * up_proj(x)). */
export function gatedMlp(module: Module, { hidden, inner, act, mlpBias: bias = false }: GatedMlp, x: Value): Value {
  const gate = activation(module.child('act_fn'), act, linear(module.child('gate_proj'), x, { inputs: hidden, outputs: inner, bias }))
  const up = linear(module.child('up_proj'), x, { inputs: hidden, outputs: inner, bias })
  return linear(module.child('down_proj'), module.op('Mul', [gate, up]), { inputs: inner, outputs: hidden, bias })
}
