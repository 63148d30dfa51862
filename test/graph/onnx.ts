import { create } from '@bufbuild/protobuf'
import {
  type AttributeProto,
  AttributeProtoSchema,
  AttributeProto_AttributeType as AttributeType,
  TensorProto_DataLocation as DataLocation,
  TensorProto_DataType as DataType,
  GraphProtoSchema,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
  TensorProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from '../../src/graph/generated/onnx_pb.js'

/** Attributes of a node: a number is INT, a fraction FLOAT, a list INTS, a text STRING, a tensor TENSOR. */
export type TestAttributes = Record<string, number | bigint | string | readonly (number | bigint)[] | TensorProto>

export function attribute(name: string, value: TestAttributes[string]): AttributeProto {
  if (typeof value === 'string') return create(AttributeProtoSchema, { name, type: AttributeType.STRING, s: Buffer.from(value) })
  if (typeof value === 'number' && !Number.isInteger(value))
    return create(AttributeProtoSchema, { name, type: AttributeType.FLOAT, f: value })
  if (typeof value === 'number' || typeof value === 'bigint')
    return create(AttributeProtoSchema, { name, type: AttributeType.INT, i: BigInt(value) })
  if ('dims' in value) return create(AttributeProtoSchema, { name, type: AttributeType.TENSOR, t: value })
  return create(AttributeProtoSchema, { name, type: AttributeType.INTS, ints: value.map(BigInt) })
}

export function node(opType: string, input: string[], output: string[], attributes: TestAttributes = {}, name = ''): NodeProto {
  const attributeList = Object.entries(attributes).map(([key, value]) => attribute(key, value))
  return create(NodeProtoSchema, { opType, input, output, attribute: attributeList, name })
}

export function value(name: string, elemType: DataType, dims?: (number | bigint | string)[]): ValueInfoProto {
  const dim = dims?.map((size) => ({
    value: typeof size === 'string' ? { case: 'dimParam' as const, value: size } : { case: 'dimValue' as const, value: BigInt(size) },
  }))
  return create(ValueInfoProtoSchema, {
    name,
    type: { value: { case: 'tensorType', value: { elemType, ...(dim && { shape: { dim } }) } } },
  })
}

export function integers(name: string, values: (number | bigint)[], dims = [values.length], dataType = DataType.INT64): TensorProto {
  const data = dataType === DataType.INT64 ? BigInt64Array.from(values, BigInt) : Int32Array.from(values, Number)
  return create(TensorProtoSchema, { name, dataType, dims: dims.map(BigInt), rawData: new Uint8Array(data.buffer) })
}

export function floats(name: string, values: number[], dims = [values.length]): TensorProto {
  const rawData = new Uint8Array(Float32Array.from(values).buffer)
  return create(TensorProtoSchema, { name, dataType: DataType.FLOAT, dims: dims.map(BigInt), rawData })
}

/** A tensor whose bytes lie in a file; `key` is what its location is called. */
export function external(name: string, dataType: DataType, dims: (number | bigint)[], location = 'w.bin', key = 'location'): TensorProto {
  const externalData = [{ key, value: location }]
  return create(TensorProtoSchema, { name, dataType, dims: dims.map(BigInt), dataLocation: DataLocation.EXTERNAL, externalData })
}

/** The parts of a graph. */
export interface Parts {
  input?: ValueInfoProto[]
  initializer?: TensorProto[]
  node?: NodeProto[]
  valueInfo?: ValueInfoProto[]
  output?: ValueInfoProto[]
}

export function modelOf(parts: Parts, opset = 23): ModelProto {
  const opsetImport = [{ domain: '', version: BigInt(opset) }]
  return create(ModelProtoSchema, { irVersion: 11n, opsetImport, graph: create(GraphProtoSchema, { name: 'test', ...parts }) })
}

/** A node with graphs as its attributes of these names. */
export function holding(node: NodeProto, graphs: Record<string, Parts>): NodeProto {
  for (const [name, parts] of Object.entries(graphs)) {
    const g = create(GraphProtoSchema, { name, ...parts })
    node.attribute.push(create(AttributeProtoSchema, { name, type: AttributeType.GRAPH, g }))
  }
  return node
}
