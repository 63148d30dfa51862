import type { Dtype } from '../core/dtypes.js'
import { TensorProto_DataType as DataType } from './generated/onnx_pb.js'

// The two vocabularies of element types, safetensors' and ONNX's, and how they meet.
const BY_DTYPE: Record<Dtype, DataType> = {
  BOOL: DataType.BOOL,
  U8: DataType.UINT8,
  I8: DataType.INT8,
  F8_E4M3: DataType.FLOAT8E4M3FN,
  F8_E5M2: DataType.FLOAT8E5M2,
  I16: DataType.INT16,
  U16: DataType.UINT16,
  F16: DataType.FLOAT16,
  BF16: DataType.BFLOAT16,
  I32: DataType.INT32,
  U32: DataType.UINT32,
  F32: DataType.FLOAT,
  I64: DataType.INT64,
  U64: DataType.UINT64,
  F64: DataType.DOUBLE,
}
const BY_DATA_TYPE = new Map<number, Dtype>(Object.entries(BY_DTYPE).map(([dtype, type]) => [type, dtype as Dtype]))

const BITS = new Map<number, number>([
  [DataType.BOOL, 8],
  [DataType.UINT8, 8],
  [DataType.INT8, 8],
  [DataType.FLOAT8E4M3FN, 8],
  [DataType.FLOAT8E4M3FNUZ, 8],
  [DataType.FLOAT8E5M2, 8],
  [DataType.FLOAT8E5M2FNUZ, 8],
  [DataType.FLOAT8E8M0, 8],
  [DataType.INT16, 16],
  [DataType.UINT16, 16],
  [DataType.FLOAT16, 16],
  [DataType.BFLOAT16, 16],
  [DataType.INT32, 32],
  [DataType.UINT32, 32],
  [DataType.FLOAT, 32],
  [DataType.INT64, 64],
  [DataType.UINT64, 64],
  [DataType.DOUBLE, 64],
  [DataType.COMPLEX64, 64],
  [DataType.COMPLEX128, 128],
  [DataType.INT4, 4],
  [DataType.UINT4, 4],
  [DataType.FLOAT4E2M1, 4],
  [DataType.INT2, 2],
  [DataType.UINT2, 2],
])

/** The ONNX element type of a safetensors one: `BF16` -> `BFLOAT16`. */
export function dataTypeOf(dtype: Dtype): DataType {
  return BY_DTYPE[dtype]
}

/** The safetensors element type of an ONNX one; undefined where safetensors has none (INT4, STRING, COMPLEX64, ...). */
export function dtypeOf(dataType: number): Dtype | undefined {
  return BY_DATA_TYPE.get(dataType)
}

/** Bits of one element of an ONNX type as stored; undefined for STRING, for UNDEFINED and for types that this schema does not know. */
export function bitsOf(dataType: number): number | undefined {
  return BITS.get(dataType)
}
