import { type Dtype, dtypeSize, tensorBytes } from '../../core/dtypes.js'
import { LIMITS } from '../../core/limits.js'
import { quoted } from '../../graph/names.js'
import { bad, is, type Refused, type Storage, type Tensor, type Value } from './values.js'

/** `_rebuild_tensor(storage, offset, size, stride)` and `_rebuild_tensor_v2(..., requires_grad, hooks, metadata)`. */
export function rebuild(args: readonly Value[], what: string): Tensor | Refused {
  const storage = storageOf(args, what)
  if (storage.refused !== undefined) return { kind: 'refused', why: storage.refused }
  if (!storage.dtype) throw bad(what, `storage ${quoted(storage.key)} has no element type`)
  return viewOf(storage, storage.dtype, args, args[6], what)
}

/** `_rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype, metadata)`, of storages that are bytes. */
export function rebuildTyped(args: readonly Value[], what: string): Tensor | Refused {
  const storage = storageOf(args, what)
  const type = args[6]
  if (!is(type, 'global') || !type.dtype || storage.dtype || storage.refused !== undefined)
    throw bad(what, `storage ${quoted(storage.key)} has no element type`)
  if (type.dtype === 'unknown') return { kind: 'refused', why: `it is of the type ${type.name}, which safetensors has not` }
  return viewOf(storage, type.dtype, args, args[7], what)
}

function storageOf([storage]: readonly Value[], what: string): Storage {
  if (!is(storage, 'storage')) throw bad(what, 'a tensor of its pickle has no storage')
  return storage
}

/** Checks every number: the view must lie within its storage. */
function viewOf(storage: Storage, dtype: Dtype, args: readonly Value[], metadata: Value | undefined, what: string): Tensor | Refused {
  const [, offset, size, stride] = args
  const tensor = `a tensor of storage ${quoted(storage.key)}`
  const [shape, strides] = [whole(size), whole(stride)]
  if (!shape || !strides || shape.length !== strides.length || shape.length > LIMITS.dimensions || !isWhole(offset))
    throw bad(what, `${tensor} has no valid offset, shape and strides`)
  if (tensorBytes(dtype, shape) === undefined) throw bad(what, `${tensor} has the impossible shape [${shape.slice(0, 8)}]`)
  const elements = Math.floor((storage.elements * storage.size) / dtypeSize(dtype))
  let last = offset
  for (const [i, count] of shape.entries()) last += Math.max(count - 1, 0) * strides[i]!
  const end = shape.includes(0) ? offset : last + 1
  if (!(end <= elements))
    throw bad(
      what,
      `${tensor} has offset ${offset}, shape [${shape.slice(0, 8)}] and strides [${strides.slice(0, 8)}], beyond its ${elements} elements`,
    )
  for (const flag of ['neg', 'conj']) {
    if (is(metadata, 'dict') && metadata.entries?.get(flag) === true)
      return {
        kind: 'refused',
        why: `its numbers are stored ${flag === 'neg' ? 'negated' : 'conjugated'}; make it contiguous and save it again`,
      }
  }
  return { kind: 'tensor', storage, dtype, offset, shape, strides }
}

function isWhole(value: Value | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function whole(value: Value | undefined): number[] | undefined {
  return is(value, 'tuple') && value.items.every(isWhole) ? (value.items as number[]) : undefined
}
