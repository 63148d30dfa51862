import type { Config } from '../../models/config.js'
import { familyOf } from '../../models/registry.js'
import { tensorBytes } from '../core/dtypes.js'
import { AssetError } from '../core/errors.js'
import { shown } from '../graph/names.js'
import type { TensorRef } from '../sources/checkpoint.js'
import { stridedPart } from '../sources/strided.js'

/**
 * The tensors of a checkpoint under the names, and in the parts, that its family has in assets: experts that are stacked in one
 * tensor become modules. Nothing is read: each part is a range of the tensor that it is in.
 * @throws AssetError 'BAD_INPUT' where the name of a part is taken
 */
export function unstack(config: Config | undefined, tensors: ReadonlyMap<string, TensorRef>): ReadonlyMap<string, TensorRef> {
  const family = config && familyOf(config)
  if (!family?.parts) return tensors
  const found = new Map<string, TensorRef>()
  const add = (name: string, ref: TensorRef) => {
    if (found.has(name))
      throw new AssetError(
        'BAD_INPUT',
        `Cannot use the checkpoint: it has the tensor ${shown(name)} twice, once by itself and once in another`,
      )
    found.set(name, ref)
  }
  for (const [whole, ref] of tensors) {
    const { file, offset, strided, dtype } = ref
    const parts = family.parts(whole, ref.shape)
    if (!parts) add(whole, ref)
    let from = 0
    for (const { name, shape } of parts ?? []) {
      const length = tensorBytes(dtype, shape)!
      add(name, { dtype, shape, length, file, ...stridedPart(offset, strided, from, length) })
      from += length
    }
  }
  return found
}
