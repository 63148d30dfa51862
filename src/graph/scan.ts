import type { DescField, DescMessage } from '@bufbuild/protobuf'
import { ScalarType } from '@bufbuild/protobuf'
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'
import { LIMITS } from '../core/limits.js'
import { ModelProtoSchema, NodeProtoSchema } from './generated/onnx_pb.js'

// Objects cost far more memory than their bytes (an empty message is two bytes on the wire), so they are counted before any is made.
const RECORDS = 16 * LIMITS.graphNodes
const MESSAGES = 4 * LIMITS.graphNodes

interface Counts {
  records: number
  messages: number
  nodes: number
}

/**
 * Walks the wire format of a serialized ModelProto and makes no objects: nesting, counts, wire types and lengths are
 * what the schema and LIMITS allow, and every message ends where its parent says.
 * @throws Error with the reason as its message
 */
export function scanModel(bytes: Uint8Array): void {
  const reader = new BinaryReader(bytes)
  walk(ModelProtoSchema, reader, bytes.byteLength, 1, { records: 0, messages: 0, nodes: 0 })
}

function walk(desc: DescMessage, reader: BinaryReader, end: number, depth: number, counts: Counts): void {
  if (depth > LIMITS.graphDepth) throw new Error(`it is nested deeper than ${LIMITS.graphDepth} messages`)
  if (++counts.messages > MESSAGES) throw new Error(`it has more than ${MESSAGES} messages`)
  if (desc === NodeProtoSchema && ++counts.nodes > LIMITS.graphNodes) throw new Error(`it has more than ${LIMITS.graphNodes} nodes`)
  const fields = fieldsOf(desc)
  while (reader.pos < end) {
    const [number, wire] = reader.tag()
    const field = fields.get(number)
    counts.records++
    if (field === undefined) reader.skip(wire, number, LIMITS.graphDepth - depth)
    else readField(field, wire, reader, depth, counts)
    if (counts.records > RECORDS) throw new Error(`it has more than ${RECORDS} fields`)
    if (reader.pos > end) throw new Error(`a field of ${desc.name} runs past the end of its message`)
  }
}

function readField(field: DescField, wire: WireType, reader: BinaryReader, depth: number, counts: Counts): void {
  const packed = wire === WireType.LengthDelimited && field.fieldKind === 'list' && wireOf(field) !== WireType.LengthDelimited
  if (wire !== wireOf(field) && !packed) throw new Error(`field ${field.name} has wire type ${wire}`)
  const child = field.message
  if (child) {
    const length = reader.uint32()
    const end = reader.pos + length
    if (end > reader.len) throw new Error(`field ${field.name} is cut off`)
    walk(child, reader, end, depth + 1, counts)
    return
  }
  const data = reader.skip(wire)
  if (packed) counts.records += data.length / (wireOf(field) === WireType.Bit64 ? 8 : wireOf(field) === WireType.Bit32 ? 4 : 1)
}

/** How a value of the field stands on the wire when it is not packed. */
function wireOf(field: DescField): WireType {
  if (field.message) return WireType.LengthDelimited
  switch (field.scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return WireType.LengthDelimited
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return WireType.Bit32
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return WireType.Bit64
    default:
      return WireType.Varint
  }
}

const known = new WeakMap<DescMessage, Map<number, DescField>>()

function fieldsOf(desc: DescMessage): Map<number, DescField> {
  let fields = known.get(desc)
  if (!fields) {
    fields = new Map(desc.fields.map((field) => [field.number, field]))
    known.set(desc, fields)
  }
  return fields
}
