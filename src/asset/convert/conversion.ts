import type { Dtype } from '../../core/dtypes.js'
import { AssetError } from '../../core/errors.js'
import { shown } from '../../graph/names.js'
import type { ByteSource } from '../../sources/checkpoint.js'
import { BLOCK, encodeQ4, encodeQ8, scaleQ4, scaleQ8 } from './blocks.js'
import { halfTable, toBf16, toF16 } from './half.js'

/** What the bytes of a tensor become: floats of 16 bits, or weights in blocks of 32 and their scales. */
export type Target = 'BF16' | 'F16' | 'Q8' | 'Q4' | 'Q8_SCALE' | 'Q4_SCALE'

/** A run of the bytes that a tensor becomes; `source` is the whole tensor, and `skip` bytes of the result come before. */
export interface ConvertedPart {
  readonly source: ByteSource
  readonly tensor: string
  readonly from: Dtype
  readonly to: Target
  readonly skip: number
  readonly length: number
}

/** The element types that can be converted, with their bytes. */
export const CONVERTED: Partial<Record<Dtype, number>> = { F32: 4, F16: 2, BF16: 2, F64: 8 }

/** Elements that are converted together, and the bytes that they become. */
const UNITS: Record<Target, { readonly elements: number; readonly bytes: number }> = {
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
const made = new Uint8Array(CHUNK * 2)
const madeWords = new Uint16Array(made.buffer)

/** The bytes of the source from its first on that a converted part and all before it are made of. */
export function sourceBytes({ from, to, skip, length }: ConvertedPart): number {
  const { elements, bytes } = UNITS[to]
  return Math.ceil((skip + length) / bytes) * elements * CONVERTED[from]!
}

/** Fills `target` with the bytes of a source from its byte `from` on. */
export type ReadSource = (target: Uint8Array, from: number) => void

/**
 * Fills `target` with the bytes of a converted part from `done` on. The source is read and converted in small runs.
 * @throws AssetError 'BAD_INPUT' where a number can't be held by what it is to become
 */
export function convertInto(part: ConvertedPart, done: number, target: Uint8Array, read: ReadSource): void {
  const { elements, bytes } = UNITS[part.to]
  const size = CONVERTED[part.from]!
  const begin = part.skip + done
  const end = begin + target.byteLength
  for (let unit = Math.floor(begin / bytes); unit * bytes < end; ) {
    const count = Math.min(CHUNK / elements, Math.ceil(end / bytes) - unit)
    read(raw.subarray(0, count * elements * size), unit * elements * size)
    decode(part.from, count * elements)
    encode(part, unit, count)
    const [from, to] = [Math.max(begin, unit * bytes), Math.min(end, (unit + count) * bytes)]
    target.set(made.subarray(from - unit * bytes, to - unit * bytes), from - begin)
    unit += count
  }
}

/** Bytes in `raw` -> `floats`. */
function decode(from: Dtype, count: number): void {
  const words = new Uint16Array(raw.buffer, 0, count)
  if (from === 'F32') floats.set(new Float32Array(raw.buffer, 0, count))
  // A double becomes a float32 first, whatever it is to become then.
  else if (from === 'F64') floats.set(new Float64Array(raw.buffer, 0, count))
  else if (from === 'BF16') for (let i = 0; i < count; i++) bitsOf[i] = words[i]! << 16
  else {
    const table = halfTable()
    for (let i = 0; i < count; i++) floats[i] = table[words[i]!]!
  }
}

/** `floats` -> bytes in `made`; `first` is the number of the first unit within its tensor. */
function encode(part: ConvertedPart, first: number, count: number): void {
  const scales = halfTable()
  if (part.to === 'BF16') narrow(part, count, toBf16, 0x7f80)
  else if (part.to === 'F16') narrow(part, count, toF16, 0x7c00)
  else if (part.to === 'Q8' || part.to === 'Q4') {
    const [code, bytes] = part.to === 'Q8' ? [encodeQ8, BLOCK] : [encodeQ4, BLOCK / 2]
    const known = remembered(part, first, count)
    for (let i = 0; i < count; i++) code(floats, i * BLOCK, scales[known[i] ?? scaleOf(part, i)]!, made, i * bytes)
  } else {
    for (let i = 0; i < count; i++) madeWords[i] = scaleOf(part, i)
    remember(part, first, count)
  }
}

function narrow(part: ConvertedPart, count: number, round: (bits: number) => number, infinity: number): void {
  for (let i = 0; i < count; i++) {
    const bits = round(bitsOf[i]!)
    if ((bits & 0x7fff) === infinity && (bitsOf[i]! & 0x7fffffff) !== 0x7f800000)
      throw unfit(part, `too large for ${part.to}`, 'bf16 or keep')
    madeWords[i] = bits
  }
}

/** The bits of the scale of block `i` of `floats`. */
function scaleOf(part: ConvertedPart, i: number): number {
  const bits = part.to.startsWith('Q8') ? scaleQ8(floats, i * BLOCK) : scaleQ4(floats, i * BLOCK)
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

function nameOf({ source, tensor, to }: ConvertedPart): string {
  return `${to.slice(0, 2)} ${source.offset} ${source.file.path} ${tensor}`
}

function remember(part: ConvertedPart, first: number, count: number): void {
  const of = nameOf(part)
  if (kept.of !== of || kept.first + kept.count !== first || kept.count + count > KEPT) Object.assign(kept, { of, first, count: 0 })
  if (kept.bits.length === 0) kept.bits = new Uint16Array(KEPT)
  kept.bits.set(madeWords.subarray(0, count), kept.count)
  kept.count += count
}

/** The scales of blocks `first` and on, of those that were kept. */
function remembered(part: ConvertedPart, first: number, count: number): Uint16Array {
  const at = kept.of === nameOf(part) ? first - kept.first : -1
  return at >= 0 && at < kept.count ? kept.bits.subarray(at, Math.min(kept.count, at + count)) : kept.bits.subarray(0, 0)
}
