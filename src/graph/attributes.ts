import { create } from '@bufbuild/protobuf'
import {
  type AttributeProto,
  AttributeProtoSchema,
  AttributeProto_AttributeType as AttributeType,
  type TensorProto,
} from './generated/onnx_pb.js'

/** Attributes of a node as TypeScript can tell them apart: a bigint is INT, a number FLOAT (float32), a text STRING, a list of bigints INTS. */
export type Attributes = Readonly<Record<string, bigint | number | string | readonly bigint[]>>

/** Attributes as ONNX has them, in the order given. */
export function attributeProtos(attributes: Attributes): AttributeProto[] {
  return Object.entries(attributes).map(([name, value]) => {
    switch (typeof value) {
      case 'bigint':
        return create(AttributeProtoSchema, { name, type: AttributeType.INT, i: value })
      case 'number':
        return create(AttributeProtoSchema, { name, type: AttributeType.FLOAT, f: value })
      case 'string':
        return create(AttributeProtoSchema, { name, type: AttributeType.STRING, s: new TextEncoder().encode(value) })
      default:
        return create(AttributeProtoSchema, { name, type: AttributeType.INTS, ints: [...value] })
    }
  })
}

/** An attribute that is a tensor. */
export function tensorAttribute(name: string, t: TensorProto): AttributeProto {
  return create(AttributeProtoSchema, { name, type: AttributeType.TENSOR, t })
}
