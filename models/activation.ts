import { AssetError } from '../src/core/errors.js'
import type { Module, Value } from '../src/graph/build.js'

/**
 * An activation by its name in transformers (ACT2FN).
 * @throws AssetError 'UNSUPPORTED' naming the activation
 */
export function activation(module: Module, name: string, x: Value): Value {
  switch (name) {
    case 'silu':
    case 'swish':
      return module.op('Mul', [x, module.op('Sigmoid', [x])])
    case 'gelu':
    case 'gelu_python':
      return module.op('Gelu', [x], { approximate: 'none' })
    case 'gelu_new':
    case 'gelu_fast':
    case 'gelu_pytorch_tanh':
    case 'gelu_python_tanh':
      return module.op('Gelu', [x], { approximate: 'tanh' })
    case 'relu':
      return module.op('Relu', [x])
    case 'tanh':
      return module.op('Tanh', [x])
    default:
      throw new AssetError('UNSUPPORTED', `Cannot build the graph: the activation ${JSON.stringify(name.slice(0, 80))} is not known`)
  }
}
