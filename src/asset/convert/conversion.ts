import type { Dtype } from '../../core/dtypes.js'
import { AssetError } from '../../core/errors.js'
import { shown } from '../../graph/names.js'
import type { ByteSource } from '../../sources/checkpoint.js'
import { isPacked, PACKED, type PackedType } from '../../sources/gguf/types.js'
import { BLOCK, encodeQ4, encodeQ8, scaleQ4, scaleQ8 } from './blocks.js'
import { halfTable, toBf16, toF16 } from './half.js'
import { decodePacked } from './packed/decode.js'
import { type Field, takeField } from './packed/fields.js'

/** What the numbers of a tensor become: floats, or weights in blocks of 32 and their scales. */
export type Target = 'F32' | 'BF16' | 'F16' | 'Q8' | 'Q4' | 'Q8_SCALE' | 'Q4_SCALE'

/** A run of the bytes that a tensor becomes; `source` is the whole tensor, and `skip` bytes of the result come before. */
export interface ConvertedPart {
  readonly source: ByteSource
  readonly tensor: string
  readonly from: Dtype | PackedType
  /** a field is taken out of packed weights as it is */
  readonly to: Target | Field
  /** what is added to each number first */
  readonly plus?: number
  readonly skip: number
  readonly length: number
}

/** The element types that can be converted, with their bytes. */
export const CONVERTED: Partial<Record<Dtype, number>> = { F32: 4, F16: 2, BF16: 2, F64: 8 }

interface Unit {
  readonly elements: number
  readonly bytes: number
}

/** Elements that are converted together, and the bytes that they become. */
const UNITS: Record<Target, Unit> = {
  F32: { elements: 1, bytes: 4 },
  BF16: { elements: 1, bytes: 2 },
  F16: { elements: 1, bytes: 2 },
  Q8: { elements: BLOCK, bytes: BLOCK },
  Q4: { elements: BLOCK, bytes: BLOCK / 2 },
  Q8_SCALE: { elements: BLOCK, bytes: 2 },
  Q4_SCALE: { elements: BLOCK, bytes: 2 },
}

// Elements at a time: what a thread holds of a tensor, whatever its size.
const CHUNK = 65536
const raw = new Uint8Array(CHUNK * 8)
const floats = new Float32Array(CHUNK)
const bitsOf = new Uint32Array(floats.buffer)
const made = new Uint8Array(CHUNK * 4)
const madeWords = new Uint16Array(made.buffer)
const madeFloats = new Float32Array(made.buffer)

/** The bytes of the source from its first on that a converted part and all before it are made of. */
export function sourceBytes(part: ConvertedPart): number {
  const { bytes, size } = unitsOf(part)
  return Math.ceil((part.skip + part.length) / bytes) * size
}

/** Elements that are converted together, the bytes that they become, and those that they are made of. */
function unitsOf({ from, to }: ConvertedPart): Unit & { readonly size: number } {
  const source = sourceUnit(from)
  const becomes = typeof to === 'string' ? UNITS[to] : { elements: source.elements, bytes: to.bytes }
  // All are powers of two.
  const elements = Math.max(source.elements, becomes.elements)
  return { elements, bytes: (elements / becomes.elements) * becomes.bytes, size: (elements / source.elements) * source.bytes }
}

/** Fills `target` with the bytes of a source from its byte `from` on. */
export type ReadSource = (target: Uint8Array, from: number) => void

/**
 * Fills `target` with the bytes of a converted part from `done` on. The source is read and converted in small runs.
 * @throws AssetError 'BAD_INPUT' where a number can't be held by what it is to become
 */
export function convertInto(part: ConvertedPart, done: number, target: Uint8Array, read: ReadSource): void {
  const { from, to } = part
  const { elements, bytes, size } = unitsOf(part)
  const begin = part.skip + done
  const end = begin + target.byteLength
  for (let unit = Math.floor(begin / bytes); unit * bytes < end; ) {
    const count = Math.min(CHUNK / elements, Math.ceil(end / bytes) - unit)
    read(raw.subarray(0, count * size), unit * size)
    if (typeof to === 'string') {
      decode(part, count * elements)
      const each = elements / UNITS[to].elements
      encode(part, to, unit * each, count * each)
    } else takeField(from as PackedType, to, raw, count, made)
    const [first, last] = [Math.max(begin, unit * bytes), Math.min(end, (unit + count) * bytes)]
    target.set(made.subarray(first - unit * bytes, last - unit * bytes), first - begin)
    unit += count
  }
}

function sourceUnit(from: Dtype | PackedType): Unit {
  return isPacked(from) ? PACKED[from] : { elements: 1, bytes: CONVERTED[from]! }
}

/** Bytes in `raw` -> `floats`. */
function decode({ from, plus }: ConvertedPart, count: number): void {
  const words = new Uint16Array(raw.buffer, 0, count)
  if (isPacked(from)) decodePacked(from, raw, count, floats)
  else if (from === 'F32') floats.set(new Float32Array(raw.buffer, 0, count))
  // A double becomes a float32 first, whatever it is to become then.
  else if (from === 'F64') floats.set(new Float64Array(raw.buffer, 0, count))
  else if (from === 'BF16') for (let i = 0; i < count; i++) bitsOf[i] = words[i]! << 16
  else {
    const table = halfTable()
    for (let i = 0; i < count; i++) floats[i] = table[words[i]!]!
  }
  if (plus !== undefined) for (let i = 0; i < count; i++) floats[i]! += plus
}

/** `floats` -> bytes in `made`; `first` is the number of the first unit within its tensor. */
function encode(part: ConvertedPart, to: Target, first: number, count: number): void {
  const scales = halfTable()
  if (to === 'F32') madeFloats.set(floats.subarray(0, count))
  else if (to === 'BF16') narrow(part, to, count, toBf16, 0x7f80)
  else if (to === 'F16') narrow(part, to, count, toF16, 0x7c00)
  else if (to === 'Q8' || to === 'Q4') {
    const [code, bytes] = to === 'Q8' ? [encodeQ8, BLOCK] : [encodeQ4, BLOCK / 2]
    const known = remembered(nameOf(part, to), first, count)
    for (let i = 0; i < count; i++) code(floats, i * BLOCK, scales[known[i] ?? scaleOf(part, to, i)]!, made, i * bytes)
  } else {
    for (let i = 0; i < count; i++) madeWords[i] = scaleOf(part, to, i)
    remember(nameOf(part, to), first, count)
  }
}

function narrow(part: ConvertedPart, to: Target, count: number, round: (bits: number) => number, infinity: number): void {
  for (let i = 0; i < count; i++) {
    const bits = round(bitsOf[i]!)
    if ((bits & 0x7fff) === infinity && (bitsOf[i]! & 0x7fffffff) !== 0x7f800000) throw unfit(part, `too large for ${to}`, 'bf16 or keep')
    madeWords[i] = bits
  }
}

/** The bits of the scale of block `i` of `floats`. */
function scaleOf(part: ConvertedPart, to: Target, i: number): number {
  const bits = to.startsWith('Q8') ? scaleQ8(floats, i * BLOCK) : scaleQ4(floats, i * BLOCK)
  if (bits === undefined) throw unfit(part, 'not finite, or too large for a scale of 16 bits', 'keep')
  return bits
}

function unfit({ tensor, source }: ConvertedPart, why: string, instead: string): AssetError {
  return new AssetError(
    'BAD_INPUT',
    `Cannot convert tensor ${shown(tensor)} of ${source.file.path}: it holds a number that is ${why}; use the dtype ${instead}`,
  )
}

// A fragment has the scales before the weights, and finding them is most of the work: those of the last run are kept.
const KEPT = 2 ** 21
const kept = { of: '', first: 0, count: 0, bits: new Uint16Array(0) }

function nameOf({ source, tensor }: ConvertedPart, to: Target): string {
  return `${to.slice(0, 2)} ${source.offset} ${source.file.path} ${tensor}`
}

function remember(of: string, first: number, count: number): void {
  if (kept.of !== of || kept.first + kept.count !== first || kept.count + count > KEPT) Object.assign(kept, { of, first, count: 0 })
  if (kept.bits.length === 0) kept.bits = new Uint16Array(KEPT)
  kept.bits.set(madeWords.subarray(0, count), kept.count)
  kept.count += count
}

/** The scales of blocks `first` and on, of those that were kept. */
function remembered(of: string, first: number, count: number): Uint16Array {
  const at = kept.of === of ? first - kept.first : -1
  return at >= 0 && at < kept.count ? kept.bits.subarray(at, Math.min(kept.count, at + count)) : kept.bits.subarray(0, 0)
}
