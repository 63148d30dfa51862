import { AssetError } from '../../core/errors.js'
import { TensorProto_DataType as DataType } from '../../graph/generated/onnx_pb.js'
import type { Kind } from './program.js'

/** Element types of weights that are numbers by themselves. */
export const FLOATS: readonly number[] = [DataType.FLOAT, DataType.FLOAT16, DataType.BFLOAT16]

const KINDS = new Map<number, Kind>([
  [DataType.FLOAT, 'f32'],
  [DataType.INT64, 'i64'],
  [DataType.BOOL, 'bool'],
])

/** Why a graph, or a node of it, can't be run natively. */
export class NotNative extends AssetError {
  constructor(readonly why: string) {
    super('UNSUPPORTED', `Cannot run the graph natively: ${why}`)
  }
}

export function cannot(why: string): NotNative {
  return new NotNative(why)
}

/** The kind of value that an ONNX element type is; 16-bit floats are only how weights are stored. @throws AssetError 'UNSUPPORTED' */
export function kindOf(elemType: number): Kind {
  const kind = KINDS.get(elemType)
  if (!kind) throw cannot(`element type ${elemType} is not known to it`)
  return kind
}
