import { type Dtype, dtypeSize } from '../../../core/dtypes.js'
import { COMPACT_SUFFIX, type CompactPart } from '../../../graph/compact.js'
import type { Packed } from '../../../sources/checkpoint.js'
import { PACKED, type PackedType } from '../../../sources/gguf/types.js'
import { LAYOUTS } from './layouts.js'

/** A tensor that packed weights are kept as, one of several: `per` elements of a row are one of its own. */
export interface Field {
  readonly part: CompactPart
  readonly suffix: string
  readonly dtype: Dtype
  readonly per: number
  /** of what one block of the file becomes */
  readonly bytes: number
}

/**
 * The tensors that packed weights are kept as: their bits, taken apart, none lost and none rounded. Those of a table that would be
 * nibbles with a sign are bytes: ONNX has no rows of INT4 to be looked up.
 */
export function fieldsOf({ type, table = false }: Packed): Field[] {
  const { low, high, block, min, blocks } = LAYOUTS[type]
  const { elements } = PACKED[type]
  const field = (part: CompactPart, dtype: Dtype, per: number): Field => ({
    part,
    suffix: COMPACT_SUFFIX[part],
    dtype,
    per,
    bytes: (elements / per) * dtypeSize(dtype),
  })
  const whole = low === 8 || (table && isSigned(type))
  const fields = [whole ? field('numbers', 'I8', 1) : field('numbers', 'U8', 8 / low), field('scale', 'F16', elements)]
  if (high) fields.push(field('high', 'U8', 8 / high))
  if (min !== undefined) fields.push(field('min', 'F16', elements))
  if (!blocks) return fields
  const [dtype, per] = [blocks.signed ? ('I8' as const) : ('U8' as const), (block * 8) / blocks.bits]
  fields.push(field('blockScale', dtype, per))
  if (min !== undefined) fields.push(field('blockMin', dtype, per))
  return fields
}

/** True for nibbles that are kept with their sign. */
function isSigned(type: PackedType): boolean {
  const { low, high, offset } = LAYOUTS[type]
  return low === 4 && !high && offset > 0
}

const numbers = new Uint8Array(256)
const scales = new Int16Array(16)
const mins = new Int16Array(16)

/** Blocks in `raw` -> one field of each, into `out`. */
export function takeField(type: PackedType, { part, per }: Field, raw: Uint8Array, blockCount: number, out: Uint8Array): void {
  const { elements, bytes } = PACKED[type]
  const layout = LAYOUTS[type]
  const { low, block, offset } = layout
  const signed = isSigned(type)
  for (let n = 0, at = 0, to = 0; n < blockCount; n++, at += bytes) {
    if (part === 'scale' || part === 'min') {
      const from = at + (part === 'scale' ? layout.scale : layout.min!)
      out[to++] = raw[from]!
      out[to++] = raw[from + 1]!
    } else if (part === 'blockScale' || part === 'blockMin') {
      layout.blocks!.read(raw, at, scales, mins)
      to = pack(part === 'blockScale' ? scales : mins, elements / block, 0, layout.blocks!.bits, out, to)
    } else {
      layout.numbers(raw, at, numbers)
      if (signed) for (let i = 0; i < elements; i++) numbers[i]! -= offset
      to = pack(numbers, elements, part === 'high' ? low : 0, 8 / per, out, to)
    }
  }
}

/** `bits` of each number from bit `shift` up, as many as a byte holds, the first one lowest. */
function pack(values: ArrayLike<number>, count: number, shift: number, bits: number, out: Uint8Array, to: number): number {
  const each = 8 / bits
  const mask = (1 << bits) - 1
  for (let i = 0; i < count; i += each) {
    let byte = 0
    for (let k = 0; k < each; k++) byte |= ((values[i + k]! >> shift) & mask) << (k * bits)
    out[to++] = byte
  }
  return to
}
