import type { Dtype } from '../core/dtypes.js'
import { AssetError } from '../core/errors.js'
import type { Dim, Module, Value } from './build.js'
import { dataTypeOf } from './elements.js'
import { shown } from './names.js'
import type { WeightRef } from './weights.js'

// Weights of 2 to 6 bits that are no whole bytes or nibbles, as GGUF has them, taken apart into tensors of their own: `X` (U8) holds
// the low 2 or 4 bits of the whole numbers, several a byte, the first one lowest; `X_high` (U8) the bits above them. A whole number,
// less half of its range where there are no minima, is multiplied by the scale of its block; then its minimum is added or taken off.
// Scale and minimum are of F16 for each block, `X_scale` and `X_min`, or of F16 for 256 inputs and multiplied by whole numbers,
// `X_block_scale` and `X_block_min`, for each block of those.

/** A tensor that such weights are kept as. */
export type CompactPart = 'numbers' | 'high' | 'scale' | 'min' | 'blockScale' | 'blockMin'

/** What is added to the weight's name for each of them. */
export const COMPACT_SUFFIX: Readonly<Record<CompactPart, string>> = {
  numbers: '',
  high: '_high',
  scale: '_scale',
  min: '_min',
  blockScale: '_block_scale',
  blockMin: '_block_min',
}

/** Inputs of a row that share a scale of 16 bits, where blocks of them have whole numbers beside it. */
export const SUPER_BLOCK = 256

interface Form {
  readonly low: 4 | 2
  readonly high?: 1 | 2
  readonly min?: true
  /** inputs that share a scale */
  readonly block: 16 | 32
  /** bits of the whole numbers of scales and minima, and whether they are signed */
  readonly scales?: { readonly bits: 4 | 8; readonly dtype: 'I8' | 'U8' }
}

/** All that there are; no two have the same bits, and the same of minima and whole-number scales. In ggml's words: */
const FORMS: readonly Form[] = [
  { low: 4, min: true, block: 32 }, // Q4_1
  { low: 4, high: 1, block: 32 }, // Q5_0
  { low: 4, high: 1, min: true, block: 32 }, // Q5_1
  { low: 2, min: true, block: 16, scales: { bits: 4, dtype: 'U8' } }, // Q2_K
  { low: 2, high: 1, block: 16, scales: { bits: 8, dtype: 'I8' } }, // Q3_K
  { low: 4, min: true, block: 32, scales: { bits: 8, dtype: 'U8' } }, // Q4_K
  { low: 4, high: 1, min: true, block: 32, scales: { bits: 8, dtype: 'U8' } }, // Q5_K
  { low: 4, high: 2, block: 16, scales: { bits: 8, dtype: 'I8' } }, // Q6_K
]

/** A weight that is stored so: its form, and its tensors, each (rows, some inputs of one of its own). */
export interface Compact {
  readonly form: Form
  readonly inputs: number
  readonly parts: ReadonlyMap<CompactPart, Value>
}

/** A module's matrix (rows, inputs) that is stored so; undefined for one that is not. @throws AssetError 'BAD_INPUT' where its tensors don't fit */
export function storedCompact(module: Module, name: string, [rows, inputs]: readonly [number, number]): Compact | undefined {
  const { graph } = module
  const { name: key } = graph.stored(module.child(name).key)
  const refs = new Map<CompactPart, WeightRef>()
  for (const [part, suffix] of Object.entries(COMPACT_SUFFIX)) {
    const { ref } = graph.stored(`${key}${suffix}`)
    if (ref) refs.set(part as CompactPart, ref)
  }
  if (refs.get('numbers')?.dtype !== 'U8' || !['high', 'min', 'blockScale'].some((part) => refs.has(part as CompactPart))) return undefined
  const bits = (part: CompactPart) => ((refs.get(part)?.shape[1] ?? 0) * 8) / inputs
  const form = FORMS.find(
    ({ low, high = 0, min = false, scales }) =>
      low === bits('numbers') && high === bits('high') && min === refs.has('min') && (scales !== undefined) === refs.has('blockScale'),
  )
  if (!form)
    throw new AssetError(
      'BAD_INPUT',
      `Cannot build the graph: the tensors of ${shown(key)} are no weights of ${inputs} inputs of any kind that is known`,
    )
  const parts = new Map<CompactPart, Value>()
  for (const { part, dtype, per } of partsOf(form)) {
    const ref = refs.get(part)
    const place = `${key}${COMPACT_SUFFIX[part]}`
    if (!ref) throw new AssetError('BAD_INPUT', `Cannot build the graph: tensor ${shown(place)} is missing from the weights`)
    const wanted = [rows, inputs / per]
    if (ref.dtype !== dtype || ref.shape.join() !== wanted.join())
      throw new AssetError(
        'BAD_INPUT',
        `Cannot build the graph: tensor ${shown(place)} is of ${ref.dtype} [${ref.shape.join(', ')}], expected ${dtype} [${wanted.join(', ')}]`,
      )
    parts.set(part, graph.external(place, ref, dataTypeOf(dtype), ref.shape))
  }
  return { form, inputs, parts }
}

/** The tensors of a form: of what, and how many inputs one element stands for. */
function partsOf({ low, high, min, block, scales }: Form): { part: CompactPart; dtype: Dtype; per: number }[] {
  const scale = scales ? SUPER_BLOCK : block
  const parts: { part: CompactPart; dtype: Dtype; per: number }[] = [
    { part: 'numbers', dtype: 'U8', per: 8 / low },
    { part: 'scale', dtype: 'F16', per: scale },
  ]
  if (high) parts.push({ part: 'high', dtype: 'U8', per: 8 / high })
  if (min) parts.push({ part: 'min', dtype: 'F16', per: scale })
  if (scales) parts.push({ part: 'blockScale', dtype: scales.dtype, per: (block * 8) / scales.bits })
  if (scales && min) parts.push({ part: 'blockMin', dtype: scales.dtype, per: (block * 8) / scales.bits })
  return parts
}

/**
 * The float32 (..., inputs) that a weight's tensors (..., their inputs) stand for: the very same as ggml's, since nothing but the
 * sum with the minimum is rounded.
 */
export function unpacked(module: Module, { form, inputs }: Compact, parts: ReadonlyMap<CompactPart, Value>): Value {
  const { low, high, min, block, scales } = form
  const numbers = parts.get('numbers')!
  const lead = numbers.dims!.slice(0, -1)
  const blocks = inputs / block
  const float = (value: Value) => module.cast(value, 'F32')
  const shaped = (value: Value, ...tail: readonly number[]) => reshape(module, value, lead, tail)

  let whole = bitsOf(module, numbers, low, lead, inputs)
  if (high) {
    const above = bitsOf(module, parts.get('high')!, high, lead, inputs)
    whole = module.op('BitwiseOr', [whole, module.op('BitShift', [above, byte(module, low)], { direction: 'LEFT' })])
  }
  let x = float(whole)
  if (!min) x = module.op('Sub', [x, module.scalar(2 ** (low + (high ?? 0) - 1))])
  x = shaped(x, blocks, block)

  /** (..., blocks, 1), by which a block is scaled or moved */
  const perBlock = (half: CompactPart, whole: CompactPart) => {
    const ofSuper = module.float(parts.get(half)!)
    if (!scales) return shaped(ofSuper, blocks, 1)
    const packed = parts.get(whole)!
    const wholes = scales.bits === 8 ? packed : bitsOf(module, packed, scales.bits, lead, blocks)
    const each = SUPER_BLOCK / block
    const product = module.op(
      'Mul',
      [shaped(float(wholes), blocks / each, each), shaped(ofSuper, blocks / each, 1)],
      {},
      { dims: [...lead, blocks / each, each] },
    )
    return shaped(product, blocks, 1)
  }
  x = module.op('Mul', [x, perBlock('scale', 'blockScale')])
  if (min) x = module.op(scales ? 'Sub' : 'Add', [x, perBlock('min', 'blockMin')])
  return shaped(x, inputs)
}

/** Whole numbers of so many `bits`, several a byte of `packed`, as bytes (..., count). */
function bitsOf(module: Module, packed: Value, bits: 1 | 2 | 4, lead: readonly Dim[], count: number): Value {
  const each = 8 / bits
  const shifts = module.graph.constant(
    `shifts_${bits}`,
    'U8',
    Array.from({ length: each }, (_, n) => n * bits),
    [each],
  )
  const apart = reshape(module, packed, lead, [count / each, 1])
  const shifted = module.op('BitShift', [apart, shifts], { direction: 'RIGHT' }, { dims: [...lead, count / each, each] })
  return reshape(module, module.op('BitwiseAnd', [shifted, byte(module, 2 ** bits - 1)]), lead, [count])
}

/** With other dimensions after the first ones, which stay as they are, known or not. */
function reshape(module: Module, value: Value, lead: readonly Dim[], tail: readonly number[]): Value {
  const shape = module.integers(...lead.map(() => 0), ...tail)
  return module.op('Reshape', [value, shape], {}, { dims: [...lead, ...tail] })
}

function byte(module: Module, value: number): Value {
  return module.graph.constant(`byte_${value}`, 'U8', [value], [])
}
