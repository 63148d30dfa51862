import { type Dtype, dtypeSize, tensorBytes } from '../../core/dtypes.js'
import { AssetError } from '../../core/errors.js'
import { LIMITS } from '../../core/limits.js'
import { type Readable, readExactly } from '../../core/read.js'
import { shown } from '../../graph/names.js'
import type { SourceFile } from '../checkpoint.js'
import { Cursor, MoreNeeded } from './cursor.js'
import { Metadata, type MetaValue, readValue } from './metadata.js'
import { isPacked, nameOfType, PACKED, type PackedType, typeOf } from './types.js'

const MAGIC = 'GGUF'
const VERSIONS = [2, 3]
// Bytes that a key with its value, and the description of a tensor, take at least.
const [LEAST_KEY, LEAST_TENSOR] = [8 + 1 + 4 + 1, 8 + 1 + 4 + 4 + 8]
const LONGEST_KEY = 65535
const LONGEST_NAME = 64
const MOST_DIMENSIONS = 4
const FIRST_READ = 1024 * 1024

/** A tensor as the file has it: rows last, `offset` from the start of the file, `length` in bytes there. */
export interface GgufTensor {
  readonly type: Dtype | PackedType
  readonly shape: readonly number[]
  readonly offset: number
  readonly length: number
}

/** What comes before the data of a file. */
export interface GgufHeader {
  readonly metadata: Metadata
  readonly tensors: ReadonlyMap<string, GgufTensor>
}

/**
 * Reads and validates the header of a GGUF file, version 2 or 3. Every count, length and offset is checked against the
 * file before anything is made for it; the header is read in growing runs, since nothing says how long it is.
 * Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 * @throws AssetError 'BAD_INPUT' | 'UNSUPPORTED' | 'LIMIT' | 'CORRUPT' | 'IO'
 */
export async function readGgufHeader(handle: Readable, { path, size }: SourceFile): Promise<GgufHeader> {
  for (let length = FIRST_READ; ; ) {
    const bytes = new Uint8Array(Math.min(length, size))
    await readExactly(handle, bytes, 0, path)
    try {
      return parseGgufHeader(bytes, size, path)
    } catch (error) {
      if (!(error instanceof MoreNeeded)) throw error
      if (error.bytes > LIMITS.ggufHeader)
        throw new AssetError('LIMIT', `Cannot read ${path}: its header has more than ${LIMITS.ggufHeader} bytes`)
      length = Math.min(Math.max(2 * length, error.bytes), LIMITS.ggufHeader)
    }
  }
}

/** The same out of the first bytes of a file of `size`. @throws MoreNeeded where they are too few */
export function parseGgufHeader(bytes: Uint8Array, size: number, what: string): GgufHeader {
  const cursor = new Cursor(bytes, size, what)
  cursor.skip(MAGIC.length)
  checkVersion(cursor)
  const count = cursor.count('tensors', LEAST_TENSOR, LIMITS.tensors)
  const metadata = readMetadata(cursor)
  const alignment = alignmentOf(cursor, metadata)
  const described = new Map<string, GgufTensor>()
  for (let i = 0; i < count; i++) readTensor(cursor, described, alignment)
  const start = Math.ceil(cursor.position / alignment) * alignment
  const tensors = new Map([...described].map(([name, tensor]) => [name, { ...tensor, offset: start + tensor.offset }]))
  checkPlaces(cursor, tensors)
  return { metadata: new Metadata(metadata, what), tensors }
}

function checkVersion(cursor: Cursor): void {
  const { what } = cursor
  const version = cursor.u32()
  if (VERSIONS.includes(version)) return
  if ((version & 0xffff) === 0 && version !== 0)
    throw new AssetError(
      'UNSUPPORTED',
      `Cannot read ${what}: its numbers are big-endian; convert it with gguf_convert_endian of the gguf package`,
    )
  if (version === 1)
    throw new AssetError(
      'UNSUPPORTED',
      `Cannot read ${what}: it is GGUF version 1, which is from before August 2023; convert the model anew`,
    )
  throw cursor.bad(`it says that it is GGUF version ${version}, known are ${VERSIONS.join(' and ')}`)
}

function readMetadata(cursor: Cursor): Map<string, MetaValue> {
  const count = cursor.count('keys', LEAST_KEY, LIMITS.ggufKeys)
  const metadata = new Map<string, MetaValue>()
  for (let i = 0; i < count; i++) {
    const key = cursor.text('a key', LONGEST_KEY)
    if (key === '') throw cursor.bad('it has a key without a name')
    if (metadata.has(key)) throw cursor.bad(`it has the key ${shown(key)} twice`)
    metadata.set(key, readValue(cursor, key))
  }
  return metadata
}

function alignmentOf(cursor: Cursor, metadata: ReadonlyMap<string, MetaValue>): number {
  const found = metadata.get('general.alignment')
  if (!found) return 32
  const { type, value } = found
  if (type !== 'u32' || typeof value !== 'number' || value === 0 || (value & (value - 1)) !== 0)
    throw cursor.bad('its general.alignment is no power of two of 32 bits')
  return value >>> 0
}

function readTensor(cursor: Cursor, tensors: Map<string, GgufTensor>, alignment: number): void {
  const name = cursor.text('the name of a tensor', LONGEST_NAME)
  const tensor = `tensor ${shown(name)}`
  if (tensors.has(name)) throw cursor.bad(`it has the ${tensor} twice`)
  const dimensions = cursor.u32()
  if (dimensions > MOST_DIMENSIONS) throw cursor.bad(`${tensor} has ${dimensions} dimensions, the most are ${MOST_DIMENSIONS}`)
  const sizes = Array.from({ length: dimensions }, () => cursor.u64())
  const number = cursor.u32()
  const offset = cursor.u64()
  const type = typeOf(number)
  if (type === undefined)
    throw new AssetError(
      'UNSUPPORTED',
      `Cannot read ${cursor.what}: ${tensor} is of the type ${nameOfType(number)}, which is not read; get the model in one of ${Object.keys(PACKED).join(', ')}, F16, BF16 or F32`,
    )
  // ggml names the dimension first whose elements lie side by side.
  const shape = sizes.map(Number).reverse()
  const length = storedBytes(type, shape)
  if (length === undefined) throw cursor.bad(`${tensor} of ${type} has the impossible shape [${sizes.toReversed().join(', ')}]`)
  if (offset % BigInt(alignment) !== 0n) throw cursor.bad(`${tensor} begins at ${offset}, which is no multiple of ${alignment}`)
  if (offset > BigInt(cursor.size)) throw cursor.bad(`${tensor} begins at ${offset}, beyond the file; it is truncated or damaged`)
  tensors.set(name, { type, shape, offset: Number(offset), length })
}

/** Bytes of a tensor in the file; undefined where the shape is impossible, also as the float32 that it stands for. */
export function storedBytes(type: Dtype | PackedType, shape: readonly number[]): number | undefined {
  const dense = tensorBytes(isPacked(type) ? 'F32' : type, shape)
  if (dense === undefined || !isPacked(type)) return dense
  const { elements, bytes } = PACKED[type]
  if ((shape.at(-1) ?? 1) % elements !== 0) return undefined
  return (dense / dtypeSize('F32') / elements) * bytes
}

/** Tensors within the file, none over another. */
function checkPlaces(cursor: Cursor, tensors: ReadonlyMap<string, GgufTensor>): void {
  let end = cursor.position
  for (const [name, { offset, length }] of [...tensors].sort(([, a], [, b]) => a.offset - b.offset || a.length - b.length)) {
    if (offset + length > cursor.size)
      throw cursor.bad(`tensor ${shown(name)} ends at byte ${offset + length}, the file at ${cursor.size}; it is truncated or damaged`)
    if (offset < end && length > 0) throw cursor.bad(`tensor ${shown(name)} overlaps another at byte ${offset}`)
    end = Math.max(end, offset + length)
  }
}
