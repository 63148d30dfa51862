import { type Dtype, tensorBytes } from '../../core/dtypes.js'
import { AssetError } from '../../core/errors.js'
import { shown } from '../../graph/names.js'
import type { Role } from '../../graph/roles.js'
import type { TensorRef } from '../../sources/checkpoint.js'
import type { Part } from '../pieces.js'
import { BLOCK } from './blocks.js'
import { CONVERTED, type Target } from './conversion.js'

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
 * matrices of Conv1D stay as they are.
 * @throws AssetError 'BAD_INPUT' where the name of a scale is taken
 */
export function planTensors(
  tensors: ReadonlyMap<string, TensorRef>,
  dtype: WeightDtype = 'keep',
  roles: ReadonlyMap<string, ReadonlySet<Role>> = new Map(),
): Map<string, PlannedTensor> {
  const planned = new Map<string, PlannedTensor>()
  for (const [name, ref] of tensors) {
    const bits = isQuantised(dtype) ? bitsFor(dtype, ref, roles.get(name)) : undefined
    if (bits !== undefined) {
      const scale = `${name}_scale`
      if (tensors.has(scale))
        throw new AssetError('BAD_INPUT', `Cannot quantise ${shown(name)}: there is a tensor ${shown(scale)} already; use the dtype keep`)
      const [rows, inputs] = ref.shape as [number, number]
      planned.set(
        name,
        bits === 8 ? converted(name, ref, 'Q8', 'I8', [rows, inputs]) : converted(name, ref, 'Q4', 'U8', [rows, inputs / 2]),
      )
      planned.set(scale, converted(name, ref, `Q${bits}_SCALE`, 'F16', [rows, inputs / BLOCK]))
      continue
    }
    const to = dtype === 'bf16' ? 'BF16' : dtype === 'f16' ? 'F16' : undefined
    if (to && ref.dtype !== to && CONVERTED[ref.dtype] && ref.shape.length >= 2) planned.set(name, converted(name, ref, to, to, ref.shape))
    else planned.set(name, { dtype: ref.dtype, shape: ref.shape, ...asItIs(ref) })
  }
  return planned
}

function asItIs(ref: TensorRef): Pick<PlannedTensor, 'part' | 'further'> {
  const further = (ref.further ?? []).map(({ file, offset, length }) => ({ source: { file, offset }, skip: 0, length }))
  const first = further.reduce((left, { length }) => left - length, ref.length)
  return { part: { source: ref, skip: 0, length: first }, ...(further.length > 0 && { further }) }
}

/** Bits of a weight that is quantised; undefined for one that stays. */
function bitsFor(dtype: 'q8' | 'q4', { dtype: from, shape, length }: TensorRef, roles: ReadonlySet<Role> | undefined): 8 | 4 | undefined {
  if (!roles || roles.has('other') || shape[1]! % BLOCK !== 0 || length === 0 || !CONVERTED[from]) return undefined
  return dtype === 'q4' && roles.size === 1 && roles.has('linear') ? 4 : 8
}

function converted(tensor: string, source: TensorRef, to: Target, dtype: Dtype, shape: readonly number[]): PlannedTensor {
  const length = tensorBytes(dtype, shape)!
  return { dtype, shape, part: { source, tensor, from: source.dtype, to, skip: 0, length } }
}
