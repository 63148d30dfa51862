import { create } from '@bufbuild/protobuf'
import { type Attributes, attributeProtos } from './attributes.js'
import { TensorProto_DataType as DataType, type GraphProto, NodeProtoSchema, TensorProtoSchema } from './generated/onnx_pb.js'

/**
 * Adds nodes that make INT8 (rows, columns), called `output`, of nibbles that come in as UINT8 (rows, columns / 2), called
 * `input`: JavaScript has no tensors of INT4. With the sign bit turned over a nibble counts from -8 up.
 */
export function unpackNibbles(graph: GraphProto, input: string, output: string, dims: readonly bigint[]): void {
  const constant = (name: string, dataType: DataType, values: Uint8Array | BigInt64Array | Int32Array, shape: readonly bigint[]) => {
    const rawData = new Uint8Array(values.buffer)
    graph.initializer.push(create(TensorProtoSchema, { name: `${input}_${name}`, dataType, dims: [...shape], rawData }))
    return `${input}_${name}`
  }
  const node = (opType: string, inputs: readonly string[], made: string, attributes: Attributes = {}) => {
    const attribute = attributeProtos(attributes)
    graph.node.push(create(NodeProtoSchema, { opType, input: [...inputs], output: [made], attribute }))
    return made
  }
  const byte = (name: string, value: number) => constant(name, DataType.UINT8, Uint8Array.of(value), [])
  const shifted = node('BitwiseXor', [input, byte('signs', 0x88)], `${input}_shifted`)
  const last = constant('last', DataType.INT64, BigInt64Array.of(-1n), [1n])
  const low = node('Unsqueeze', [node('BitwiseAnd', [shifted, byte('mask', 15)], `${input}_l`), last], `${input}_low`)
  const right = { direction: 'RIGHT' }
  const high = node('Unsqueeze', [node('BitShift', [shifted, byte('four', 4)], `${input}_h`, right), last], `${input}_high`)
  const pairs = node('Concat', [low, high], `${input}_pairs`, { axis: -1n })
  const shape = constant('shape', DataType.INT64, BigInt64Array.from(dims), [BigInt(dims.length)])
  const wide = node('Cast', [node('Reshape', [pairs, shape], `${input}_flat`)], `${input}_wide`, { to: BigInt(DataType.INT32) })
  const eight = constant('eight', DataType.INT32, Int32Array.of(8), [])
  node('Cast', [node('Sub', [wide, eight], `${input}_signed`)], output, { to: BigInt(DataType.INT8) })
}
