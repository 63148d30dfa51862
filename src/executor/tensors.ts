import { Tensor } from 'onnxruntime-common'
import { AssetError } from '../core/errors.js'
import { TensorProto_DataType as DataType } from '../graph/generated/onnx_pb.js'

type View = new (buffer: ArrayBuffer, offset: number, length: number) => Tensor.DataType

// BFLOAT16 and FLOAT16 travel as the 16-bit integers that they are; the cut graphs know.
const KINDS: Record<number, { type: Tensor.Type; view: View; size: number }> = {
  [DataType.FLOAT]: { type: 'float32', view: Float32Array, size: 4 },
  [DataType.FLOAT16]: { type: 'float16', view: Uint16Array, size: 2 },
  [DataType.BFLOAT16]: { type: 'uint16', view: Uint16Array, size: 2 },
  [DataType.DOUBLE]: { type: 'float64', view: Float64Array, size: 8 },
  [DataType.INT64]: { type: 'int64', view: BigInt64Array as never, size: 8 },
  [DataType.INT32]: { type: 'int32', view: Int32Array, size: 4 },
  [DataType.INT8]: { type: 'int8', view: Int8Array, size: 1 },
  [DataType.UINT8]: { type: 'uint8', view: Uint8Array, size: 1 },
  [DataType.BOOL]: { type: 'bool', view: Uint8Array, size: 1 },
}

/** The tensor type that ONNX Runtime's JavaScript has for an ONNX element type. @throws AssetError 'UNSUPPORTED' */
export function tensorType(elemType: number): Tensor.Type {
  return kindOf(elemType).type
}

/** Bytes of one element. @throws AssetError 'UNSUPPORTED' */
export function elementSize(elemType: number): number {
  return kindOf(elemType).size
}

/** A tensor over bytes, without a copy. @throws AssetError 'UNSUPPORTED' */
export function tensorOver(elemType: number, bytes: Uint8Array<ArrayBuffer>, dims: readonly number[]): Tensor {
  // Nibbles travel as the bytes that they are packed into; the cut graphs know.
  if (elemType === DataType.INT4) return tensorOver(DataType.UINT8, bytes, [...dims.slice(0, -1), (dims.at(-1) ?? 1) / 2])
  const { type, view: View, size } = kindOf(elemType)
  return new Tensor(type, new View(bytes.buffer, bytes.byteOffset, bytes.byteLength / size) as never, dims)
}

function kindOf(elemType: number) {
  const kind = KINDS[elemType]
  if (!kind) throw new AssetError('UNSUPPORTED', `Cannot run the graph: tensors of ONNX element type ${elemType} are not supported`)
  return kind
}
