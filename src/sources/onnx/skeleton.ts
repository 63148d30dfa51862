import { randomBytes } from 'node:crypto'
import { create, type DescField, type DescMessage, toBinary } from '@bufbuild/protobuf'
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import { AssetError } from '../../core/errors.js'
import { LIMITS } from '../../core/limits.js'
import { type Readable, readExactly } from '../../core/read.js'
import {
  TensorProto_DataLocation as DataLocation,
  TensorProto_DataType as DataType,
  GraphProtoSchema,
  ModelProtoSchema,
  type TensorProto,
  TensorProtoSchema,
} from '../../graph/generated/onnx_pb.js'
import type { SourceFile } from '../checkpoint.js'
import { FileWindow } from './file-window.js'

// Messages that are shorter are copied as they are, but for the graph and its initializers.
const SHORT = 256
// Data of this many bytes stays, unless it is an initializer's.
const LARGE = 4096
const RECORDS = 16 * LIMITS.graphNodes
const PROTOBUF = 2 ** 31 - 1

/** Fields of a tensor that are its bytes as they lie in memory, and the element type that a field is for, if it is for one. */
const DATA = new Map<string, DataType | undefined>([
  ['rawData', undefined],
  ['floatData', DataType.FLOAT],
  ['doubleData', DataType.DOUBLE],
])

/** A model without the data of its tensors. */
export interface Skeleton {
  /** a serialized model, in which what was left out is external data */
  readonly bytes: Uint8Array
  /** true for a tensor whose data lies in the model's own file; false where it lies in another, as the model says */
  isInside(tensor: TensorProto): boolean
}

/**
 * Reads an ONNX file without the data of its tensors, which may be almost all of it: of initializers, but for those of short
 * graphs that nodes hold, and of others where it is more than a page. Data in lists of varints stays. Memory is bounded by LIMITS.graph.
 * @throws AssetError 'BAD_INPUT' | 'LIMIT' | 'CORRUPT' | 'IO'
 */
export async function readSkeleton(handle: Readable, { path, size }: SourceFile): Promise<Skeleton> {
  if (size > PROTOBUF) throw bad(path, `it has ${size} bytes, an ONNX file has at most ${PROTOBUF}; keep its weights as external data`)
  // Nobody can know it when the file is written, so no location that the file names is one of these.
  const token = `inside-${randomBytes(16).toString('hex')}`
  const chunks = await new Copier(handle, path, size, token).message(ModelProtoSchema, 0, size, 1, false)
  return { bytes: Buffer.concat(chunks), isInside: (tensor) => isInside(tensor, token, path) }
}

function isInside(tensor: TensorProto, token: string, path: string): boolean {
  const [marker, field] = (tensor.externalData.find(({ key }) => key === 'location')?.value ?? '').split('/')
  if (marker !== token) return false
  const wanted = DATA.get(field!)
  if (wanted !== undefined && wanted !== tensor.dataType)
    throw bad(path, `tensor ${JSON.stringify(tensor.name)} of type ${tensor.dataType} has its data in ${field}`)
  return true
}

/** Copies messages without the data of tensors. */
class Copier {
  private readonly window: FileWindow
  private kept = 0
  private records = 0

  constructor(
    private readonly handle: Readable,
    private readonly path: string,
    size: number,
    private readonly token: string,
  ) {
    this.window = new FileWindow(handle, path, size)
  }

  /** The message from byte `from` to `end`, as chunks; `whole` also takes small data out of it. */
  async message(desc: DescMessage, from: number, end: number, depth: number, whole: boolean): Promise<Uint8Array[]> {
    if (depth > LIMITS.graphDepth) throw bad(this.path, `it is nested deeper than ${LIMITS.graphDepth} messages`)
    const chunks: Uint8Array[] = []
    const leftOut: Uint8Array[] = []
    let [copied, at] = [from, from]
    const copyTo = async (until: number) => {
      if (until > copied) chunks.push(await this.copy(copied, until))
    }
    while (at < end) {
      if (++this.records > RECORDS) throw bad(this.path, `it has more than ${RECORDS} fields`)
      const { number, wire, body, next } = await this.field(at, end)
      const field = wire === WireType.LengthDelimited ? fieldOf(desc, number) : undefined
      const isGraph = desc === ModelProtoSchema && field?.localName === 'graph'
      const isInitializer = desc === GraphProtoSchema && field?.localName === 'initializer'
      const isData = desc === TensorProtoSchema && field !== undefined && DATA.has(field.localName)
      if (isData && next - body > (whole ? 0 : LARGE)) {
        await copyTo(at)
        leftOut.push(this.elsewhere(field.localName, body, next - body))
        copied = next
      } else if (field?.message && (isGraph || (isInitializer && depth === 2) || next - body > SHORT)) {
        await copyTo(at)
        const inner = await this.message(field.message, body, next, depth + 1, isInitializer)
        chunks.push(header(number, inner), ...inner)
        copied = next
      }
      this.checkRoom(at - copied)
      at = next
    }
    await copyTo(end)
    // Last, so that it holds whatever else the tensor says of where its data is.
    return [...chunks, ...leftOut]
  }

  /** The fields that say that a tensor's data is in the model's own file. */
  private elsewhere(field: string, offset: number, length: number): Uint8Array {
    const entries = { location: `${this.token}/${field}`, offset: String(offset), length: String(length) }
    const externalData = Object.entries(entries).map(([key, value]) => ({ key, value }))
    return toBinary(TensorProtoSchema, create(TensorProtoSchema, { dataLocation: DataLocation.EXTERNAL, externalData }))
  }

  private async copy(from: number, to: number): Promise<Uint8Array> {
    this.checkRoom(to - from)
    this.kept += to - from
    const bytes = new Uint8Array(to - from)
    await readExactly(this.handle, bytes, from, this.path)
    return bytes
  }

  private checkRoom(more: number): void {
    if (this.kept + more > LIMITS.graph)
      throw new AssetError('LIMIT', `Cannot read ${this.path}: without its tensors it has more than ${LIMITS.graph} bytes`)
  }

  /** The field at a place: its number and wire type, where its body begins, and where the next one does. */
  private async field(at: number, end: number): Promise<{ number: number; wire: number; body: number; next: number }> {
    const bytes = await this.window.at(at, Math.min(20, end - at))
    const [tag, tagEnd] = this.varint(bytes, 0, at)
    const [number, wire] = [Math.floor(tag / 8), tag % 8]
    let [body, next] = [at + tagEnd, at + tagEnd]
    if (wire === WireType.Varint) next = at + this.varint(bytes, tagEnd, at)[1]
    else if (wire === WireType.Bit32) next += 4
    else if (wire === WireType.Bit64) next += 8
    else if (wire === WireType.LengthDelimited) {
      const [length, lengthEnd] = this.varint(bytes, tagEnd, at)
      body = at + lengthEnd
      next = body + length
    } else throw bad(this.path, `byte ${at} has the wire type ${wire}; it is no ONNX model`)
    if (number === 0 || !(next <= end))
      throw bad(this.path, `the field at byte ${at} runs past the end of its message; it is cut off or no ONNX model`)
    return { number, wire, body, next }
  }

  /** A varint, and where it ends; beyond 2^53 it is only as long as it should be. */
  private varint(bytes: Uint8Array, from: number, at: number): [number, number] {
    let value = 0
    for (let i = from; i < bytes.length && i < from + 10; i++) {
      value += (bytes[i]! & 0x7f) * 2 ** (7 * (i - from))
      if (bytes[i]! < 0x80) return [value, i + 1]
    }
    throw bad(this.path, `byte ${at} begins a number that does not end; it is cut off or no ONNX model`)
  }
}

function header(number: number, chunks: readonly Uint8Array[]): Uint8Array {
  const length = chunks.reduce((sum, { byteLength }) => sum + byteLength, 0)
  return new BinaryWriter().tag(number, WireType.LengthDelimited).uint32(length).finish()
}

function fieldOf(desc: DescMessage, number: number): DescField | undefined {
  return desc.fields.find((field) => field.number === number)
}

function bad(path: string, why: string): AssetError {
  return new AssetError('BAD_INPUT', `Cannot read ${path}: ${why}`)
}
