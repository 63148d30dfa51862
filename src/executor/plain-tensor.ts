import { Tensor } from 'onnxruntime-common'
import { AssetError } from '../core/errors.js'

/** A tensor as plain data, which threads can pass: element type, values, dimensions. */
export interface PlainTensor {
  readonly type: Tensor.Type
  readonly data: Tensor.DataType
  readonly dims: readonly number[]
}

/** The tensor of plain data. @throws AssetError 'BAD_INPUT' where data and dims don't fit */
export function toTensor({ type, data, dims }: PlainTensor, what: string): Tensor {
  try {
    return new Tensor(type as 'float32', data as Float32Array, dims)
  } catch (cause) {
    throw new AssetError('BAD_INPUT', `Cannot use ${what}: ${cause instanceof Error ? cause.message : cause}`, { cause })
  }
}

export function toPlain(tensor: Tensor): PlainTensor {
  return { type: tensor.type, data: tensor.data as Tensor.DataType, dims: tensor.dims }
}
