import { type Dtype, isDtype, tensorBytes } from '../core/dtypes.js'
import { AssetError } from '../core/errors.js'
import { countJson, parseJsonObject } from '../core/json.js'
import { LIMITS } from '../core/limits.js'
import { type Readable, readExactly } from '../core/read.js'

/** Where one tensor lies in a safetensors file; `offset` counts from the start of the file. */
export interface StoredTensor {
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly offset: number
  readonly length: number
}

/** A parsed header: the tensors by name in the order of the header, and where the data begins. */
export interface SafetensorsHeader {
  readonly tensors: ReadonlyMap<string, StoredTensor>
  readonly metadata: ReadonlyMap<string, string>
  readonly dataStart: number
}

/**
 * Reads and validates the header of an open safetensors file of `size` bytes. Every number is checked before it is
 * used: sizes, offsets without overlap or hole, shape times element size, duplicate keys.
 * Format: https://huggingface.co/docs/safetensors
 * @throws AssetError 'BAD_INPUT' | 'LIMIT' | 'CORRUPT'
 */
export async function readSafetensorsHeader(handle: Readable, size: number, what: string): Promise<SafetensorsHeader> {
  if (size < 8) throw bad(what, `it has ${size} bytes, a safetensors file has at least 10`)
  const prefix = new Uint8Array(8)
  await readExactly(handle, prefix, 0, what)
  const length = new DataView(prefix.buffer).getBigUint64(0, true)
  if (length === 0n) throw bad(what, 'its header is empty')
  if (length > BigInt(LIMITS.safetensorsHeader))
    throw bad(what, `its header claims ${length} bytes, the limit is ${LIMITS.safetensorsHeader}`)
  if (length > BigInt(size - 8))
    throw bad(what, `its header claims ${length} bytes, the file has ${size}; it is truncated or not safetensors`)
  const bytes = new Uint8Array(Number(length))
  await readExactly(handle, bytes, 8, what)
  return parseSafetensorsHeader(bytes, size - 8 - bytes.byteLength, what)
}

/** Validates header bytes (without the 8-byte length) over `dataBytes` bytes of data. @throws AssetError 'BAD_INPUT' | 'LIMIT' */
export function parseSafetensorsHeader(bytes: Uint8Array, dataBytes: number, what: string): SafetensorsHeader {
  if (bytes[0] !== 0x7b) throw bad(what, 'its header does not start with "{"')
  // Counted before JSON.parse, which would allocate for all of them and hide a duplicate key.
  const { keys, depth } = countJson(bytes)
  if (keys > LIMITS.tensors * 4) throw new AssetError('LIMIT', `Cannot read ${what}: its header has more than ${LIMITS.tensors} tensors`)
  if (depth > 3) throw bad(what, 'its header is nested deeper than a tensor')
  const json = parseJsonObject(bytes, `the header of ${what}`)
  const dataStart = 8 + bytes.byteLength
  const metadata = new Map<string, string>()
  const tensors = new Map<string, StoredTensor>()
  let seen = 0
  for (const [name, value] of Object.entries(json)) {
    seen += 1
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad(what, `the entry ${quote(name)} is not an object`)
    seen += Object.keys(value).length
    if (name === '__metadata__') readMetadata(value as Record<string, unknown>, metadata, what)
    else tensors.set(name, readEntry(name, value as Record<string, unknown>, dataStart, dataBytes, what))
  }
  if (seen !== keys) throw bad(what, 'its header has a duplicate key or a nested object')
  if (tensors.size > LIMITS.tensors)
    throw new AssetError('LIMIT', `Cannot read ${what}: its header has more than ${LIMITS.tensors} tensors`)
  checkContiguous(tensors, dataStart, dataBytes, what)
  return { tensors, metadata, dataStart }
}

function readMetadata(value: Record<string, unknown>, metadata: Map<string, string>, what: string): void {
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string') throw bad(what, `__metadata__ ${quote(key)} is not a text`)
    metadata.set(key, text)
  }
}

function readEntry(name: string, entry: Record<string, unknown>, dataStart: number, dataBytes: number, what: string): StoredTensor {
  const { dtype, shape, data_offsets: offsets } = entry
  const tensor = `tensor ${quote(name)}`
  if (name.length > LIMITS.tensorName) throw bad(what, `${tensor} has a name that is longer than ${LIMITS.tensorName}`)
  if (!name.isWellFormed()) throw bad(what, `${tensor} has a name that is not valid Unicode`)
  if (!isDtype(dtype)) throw bad(what, `${tensor} has the unknown element type ${JSON.stringify(dtype)}`)
  if (!Array.isArray(shape) || shape.length > LIMITS.dimensions) throw bad(what, `${tensor} has no valid shape`)
  const bytes = tensorBytes(dtype, shape)
  if (bytes === undefined) throw bad(what, `${tensor} has the impossible shape [${shape.slice(0, 8)}]`)
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every((n) => Number.isSafeInteger(n) && n >= 0)) {
    throw bad(what, `${tensor} has no valid data_offsets`)
  }
  const [begin, end] = offsets as [number, number]
  if (begin > end || end > dataBytes)
    throw bad(what, `${tensor} has data_offsets [${begin}, ${end}], the data has ${dataBytes} bytes; the file is truncated or damaged`)
  if (end - begin !== bytes)
    throw bad(what, `${tensor} of type ${dtype} and shape [${shape}] needs ${bytes} bytes, its data_offsets give ${end - begin}`)
  return { dtype, shape: shape as number[], offset: dataStart + begin, length: bytes }
}

function checkContiguous(tensors: ReadonlyMap<string, StoredTensor>, dataStart: number, dataBytes: number, what: string): void {
  const ranges = [...tensors.values()].sort((a, b) => a.offset - b.offset || a.length - b.length)
  let end = dataStart
  for (const { offset, length } of ranges) {
    if (offset !== end) throw bad(what, `its tensors ${offset < end ? 'overlap' : 'leave a hole'} at byte ${Math.min(offset, end)}`)
    end = offset + length
  }
  if (end !== dataStart + dataBytes) throw bad(what, `${dataStart + dataBytes - end} bytes follow its last tensor`)
}

function quote(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}...` : name)
}

function bad(what: string, why: string): AssetError {
  return new AssetError('BAD_INPUT', `Cannot read ${what}: ${why}`)
}
