import type { Module, Value } from './build.js'
import { lowBitMatrix, matrix, tableRows } from './low-bit.js'

// The modules that models are made of, by their PyTorch names. Compute is in float32, whatever the weights are kept in.

/** Options of {@link linear}: sizes of a row of the input and of the output, whether `bias` is added, and the name of the output value. */
export interface LinearShape {
  readonly inputs: number
  readonly outputs: number
  readonly bias: boolean
  readonly name?: string
}

/** torch.nn.Linear: x (..., inputs) times the transpose of `weight` (outputs, inputs), plus `bias`. */
export function linear(module: Module, x: Value, { inputs, outputs, bias, name }: LinearShape): Value {
  return matmul(module, x, turned(module, matrix(module, 'weight', [outputs, inputs])), outputs, bias, name)
}

/** The Conv1D of GPT-2: a linear module whose `weight` is kept as (inputs, outputs), unless it is of few bits, whose blocks are along the inputs. */
export function conv1d(module: Module, x: Value, { inputs, outputs, bias, name }: LinearShape): Value {
  const blocks = lowBitMatrix(module, 'weight', [outputs, inputs])
  const weight = blocks ? turned(module, blocks) : module.parameter('weight', [inputs, outputs])
  return matmul(module, x, weight, outputs, bias, name)
}

/** A matrix with rows and columns the other way around. */
function turned(module: Module, weight: Value): Value {
  return module.op('Transpose', [weight], { perm: [1n, 0n] }, { dims: weight.dims?.toReversed() })
}

function matmul(module: Module, x: Value, weight: Value, outputs: number, bias: boolean, name: string | undefined): Value {
  const dims = x.dims ? [...x.dims.slice(0, -1), outputs] : undefined
  const named = name === undefined ? {} : { name }
  const product = module.op('MatMul', [x, weight], {}, { dims, ...(bias ? {} : named) })
  return bias ? module.op('Add', [product, module.parameter('bias', [outputs])], {}, named) : product
}

/** torch.nn.Embedding: the rows of `weight` (rows, width) that the 64-bit ids (...) name, (..., width). Rows first, then Cast: only they are read. */
export function embedding(module: Module, ids: Value, rows: number, width: number): Value {
  return tableRows(module, 'weight', [rows, width], ids)
}

/**
 * RMSNorm over the last dimension: x / sqrt(mean(x^2) + epsilon) * weight, or * (1 + weight) where the weight is `centred` around 0;
 * `name` for the output value where it must have one.
 */
export function rmsNorm(module: Module, x: Value, width: number, epsilon: number, centred = false, name?: string): Value {
  const weight = module.parameter('weight', [width])
  const factor = centred ? module.op('Add', [weight, module.scalar(1)]) : weight
  return module.op('RMSNormalization', [x, factor], { axis: -1n, epsilon }, name === undefined ? {} : { name })
}

/** torch.nn.LayerNorm over the last dimension, with weight and bias; `name` for the output value where it must have one. */
export function layerNorm(module: Module, x: Value, width: number, epsilon: number, name?: string): Value {
  const [weight, bias] = [module.parameter('weight', [width]), module.parameter('bias', [width])]
  return module.op('LayerNormalization', [x, weight, bias], { axis: -1n, epsilon }, name === undefined ? {} : { name })
}

/** x (..., sum of `sizes`) cut along its last dimension. */
export function split(module: Module, x: Value, sizes: readonly number[]): Value[] {
  const parts = sizes.map((size) => ({ dims: x.dims && [...x.dims.slice(0, -1), size] }))
  return module.ops('Split', [x, module.integers(...sizes)], { axis: -1n }, parts)
}
