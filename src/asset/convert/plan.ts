import { type Dtype, tensorBytes } from '../../core/dtypes.js'
import { AssetError } from '../../core/errors.js'
import { shown } from '../../graph/names.js'
import type { Role } from '../../graph/roles.js'
import type { Packed, TensorRef } from '../../sources/checkpoint.js'
import type { Part } from '../pieces.js'
import { BLOCK } from './blocks.js'
import { CONVERTED, type Target } from './conversion.js'
import { type Field, fieldsOf } from './packed/fields.js'

/** How an asset stores weights: as they came, as floats of 16 bits, or as whole numbers of 8 or 4 bits in blocks of 32 with a scale. */
export type WeightDtype = 'keep' | 'bf16' | 'f16' | 'q8' | 'q4'

/** All of them, in order. */
export const WEIGHT_DTYPES: readonly WeightDtype[] = ['keep', 'bf16', 'f16', 'q8', 'q4']

/** A tensor of an asset that is to be written. */
export interface PlannedTensor {
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly part: Part
  /** what follows it, where a file of the checkpoint ends within the tensor */
  readonly further?: readonly Part[]
}

/** Says whether weights are stored as whole numbers, for which it has to be known what each is for. */
export function isQuantised(dtype: WeightDtype | undefined): dtype is 'q8' | 'q4' {
  return dtype === 'q8' || dtype === 'q4'
}

/**
 * The tensors of an asset out of those of a checkpoint. `bf16` and `f16` are for all floats of two dimensions or more. `q8`
 * and `q4` are for matrices that rows are multiplied by, if a row is a multiple of 32 long, by `roles`; embeddings and the
 * output head get 8 bits in both, since they are few and much depends on them. Norms, biases, other vectors and the turned
 * matrices of Conv1D stay as they are. Matrices that are packed become tensors of their bits, unless they are quantised anew;
 * those in blocks of 32 with a scale are not, if they have no more bits than they would get.
 * @throws AssetError 'BAD_INPUT' where the name of a scale, or of another part of a packed weight, is taken
 */
export function planTensors(
  tensors: ReadonlyMap<string, TensorRef>,
  dtype: WeightDtype = 'keep',
  roles: ReadonlyMap<string, ReadonlySet<Role>> = new Map(),
): Map<string, PlannedTensor> {
  const planned = new Map<string, PlannedTensor>()
  const add = (of: string, suffix: string, tensor: PlannedTensor) => {
    const name = `${of}${suffix}`
    if (suffix !== '' && tensors.has(name))
      throw new AssetError('BAD_INPUT', `Cannot store ${shown(of)} in few bits: there is a tensor ${shown(name)} already; ${unless(dtype)}`)
    planned.set(name, tensor)
  }
  for (const [name, ref] of tensors) {
    const bits = isQuantised(dtype) ? bitsFor(dtype, ref, roles.get(name)) : undefined
    const to = dtype === 'bf16' ? 'BF16' : dtype === 'f16' ? 'F16' : undefined
    if (bits !== undefined && !isFine(ref.packed, bits)) {
      const [rows, inputs] = ref.shape as [number, number]
      add(name, '', bits === 8 ? converted(name, ref, 'Q8', 'I8', [rows, inputs]) : converted(name, ref, 'Q4', 'U8', [rows, inputs / 2]))
      add(name, '_scale', converted(name, ref, `Q${bits}_SCALE`, 'F16', [rows, inputs / BLOCK]))
    } else if (to && ref.dtype !== to && CONVERTED[ref.dtype] && ref.shape.length >= 2 && !ref.packed?.turned)
      add(name, '', converted(name, ref, to, to, ref.shape))
    else if (ref.packed && ref.shape.length >= 2)
      for (const [suffix, tensor] of takenApart(name, ref, ref.packed)) add(name, suffix, tensor)
    else add(name, '', asFloats(name, ref))
  }
  return planned
}

/** The same without any weight of few bits: what a graph needs to know of them to say what they are for. */
export function planFloats(tensors: ReadonlyMap<string, TensorRef>): Map<string, PlannedTensor> {
  return new Map([...tensors].map(([name, ref]) => [name, asFloats(name, ref)]))
}

function asItIs(ref: TensorRef): Pick<PlannedTensor, 'part' | 'further'> {
  const further = (ref.further ?? []).map(({ file, offset, length }) => ({ source: { file, offset }, skip: 0, length }))
  const first = further.reduce((left, { length }) => left - length, ref.length)
  return { part: { source: ref, skip: 0, length: first }, ...(further.length > 0 && { further }) }
}

/** Bits of a weight that is quantised; undefined for one that stays. */
function bitsFor(
  dtype: 'q8' | 'q4',
  { dtype: from, shape, length, packed }: TensorRef,
  roles: ReadonlySet<Role> | undefined,
): 8 | 4 | undefined {
  if (!roles || roles.has('other') || shape[1]! % BLOCK !== 0 || length === 0 || !CONVERTED[from] || packed?.turned) return undefined
  return dtype === 'q4' && roles.size === 1 && roles.has('linear') ? 4 : 8
}

/** True for weights in blocks of 32 with a scale that have no more bits than they are to have: they stay as they are. */
function isFine(packed: Packed | undefined, bits: 8 | 4): boolean {
  return packed?.type === 'Q4_0' || (packed?.type === 'Q8_0' && bits === 8)
}

function unless(dtype: WeightDtype): string {
  return isQuantised(dtype) ? 'use the dtype keep' : 'use the dtype bf16'
}

/** The tensors that packed weights become, by what is added to its name. */
function takenApart(tensor: string, source: TensorRef, packed: Packed): [string, PlannedTensor][] {
  const [inputs, ...outer] = packed.turned ? source.shape : source.shape.toReversed()
  const rows = outer.toReversed()
  return fieldsOf(packed).map((field) => [field.suffix, converted(tensor, source, field, field.dtype, [...rows, inputs! / field.per])])
}

/** A tensor as it is, or as the float32 that packed weights stand for. */
function asFloats(tensor: string, source: TensorRef): PlannedTensor {
  const { dtype, shape, packed, plus } = source
  if (packed || plus !== undefined) return converted(tensor, source, 'F32', 'F32', shape)
  return { dtype, shape, ...asItIs(source) }
}

function converted(tensor: string, source: TensorRef, to: Target | Field, dtype: Dtype, shape: readonly number[]): PlannedTensor {
  const length = tensorBytes(dtype, shape)!
  const { packed, plus } = source
  const from = packed?.type ?? source.dtype
  return { dtype, shape, part: { source, tensor, from, to, skip: 0, length, ...(plus !== undefined && { plus }) } }
}
