import { dtypeSize, tensorBytes } from '../../core/dtypes.js'
import { AssetError } from '../../core/errors.js'
import { LIMITS } from '../../core/limits.js'
import { quoted } from '../../graph/names.js'
import type { SourceFile, TensorRef } from '../checkpoint.js'
import { stridedOf } from '../strided.js'
import { bad, type Storage, type Tensor } from './values.js'

/** Where the bytes of a storage lie in its file. */
export type Locate = (storage: Storage) => { readonly offset: number; readonly size: number }

/** Small files may repeat their bytes freely. */
const SPARE = 64 * 1024 * 1024

/**
 * Where the tensors lie. Each is within its storage, and the storage within the file; together they have no more bytes
 * than so many times those of the file, or a small file could ask for any amount of disk.
 * @throws AssetError 'BAD_INPUT' | 'LIMIT'
 */
export function tensorRefs(tensors: ReadonlyMap<string, Tensor>, file: SourceFile, locate: Locate): Map<string, TensorRef> {
  const refs = new Map<string, TensorRef>()
  let total = 0
  for (const [name, { storage, dtype, offset, shape, strides }] of tensors) {
    const size = dtypeSize(dtype)
    const place = locate(storage)
    const needed = storage.elements * storage.size
    if (!(needed <= place.size))
      throw bad(file.path, `storage ${quoted(storage.key)} should have ${needed} bytes, it has ${place.size}; it is truncated or damaged`)
    const length = tensorBytes(dtype, shape)!
    total += length
    const strided = stridedOf(shape, strides, size)
    refs.set(name, { dtype, shape, offset: place.offset + offset * size, length, file, ...(strided && { strided }) })
  }
  const most = LIMITS.expansion * file.size + SPARE
  if (total > most)
    throw new AssetError(
      'LIMIT',
      `Cannot read ${file.path}: its tensors share or repeat their bytes so that they would have ${total}, the limit is ${most}`,
    )
  return refs
}
