import { TensorProto_DataType as DataType, type TensorProto } from './generated/onnx_pb.js'

/** The elements of a tensor inside the graph, of INT64, INT32, FLOAT or BOOL; undefined for other types. Only for tensors that parseGraph has checked. */
export function numbersOf({ rawData, dataType, ...lists }: TensorProto): readonly number[] | undefined {
  // A copy of its own: at no odd offset, and not of a Buffer, whose slices share.
  const raw = rawData.length > 0 ? new Uint8Array(rawData).buffer : undefined
  switch (dataType) {
    case DataType.FLOAT:
      return raw ? [...new Float32Array(raw)] : lists.floatData
    case DataType.INT64:
      return raw ? Array.from(new BigInt64Array(raw), Number) : lists.int64Data.map(Number)
    case DataType.INT32:
      return raw ? [...new Int32Array(raw)] : lists.int32Data
    case DataType.BOOL:
      return raw ? [...rawData] : lists.int32Data
    default:
      return undefined
  }
}
