import { AssetError } from '../../core/errors.js'
import { LIMITS } from '../../core/limits.js'
import { quoted } from '../../graph/names.js'
import { holds } from './nesting.js'
import { addTensor } from './state-dict.js'
import { bad, type Instance, is, nameOfKind, type Tensor, type Value } from './values.js'

/**
 * The tensors of a TorchScript module by the names that its state dict has: attributes joined by dots. Its data says of no
 * tensor whether it is a parameter, a buffer or a plain attribute, so all are here. Lists of tensors have no names there
 * either, and the constants of its code none at all.
 * @throws AssetError 'BAD_INPUT' | 'UNSUPPORTED' | 'LIMIT'
 */
export function scriptTensors(root: Value, what: string): Map<string, Tensor> {
  if (!is(root, 'instance')) throw bad(what, `it is TorchScript, but holds ${nameOfKind(root)} instead of a module`)
  const tensors = new Map<string, Tensor>()
  let visits = 0
  const visit = ({ name, state }: Instance, prefix: string, depth: number): void => {
    // A module may be an attribute of several others, so that a few of them could make any number of names.
    if (++visits > LIMITS.tensors || depth > LIMITS.keySegments)
      throw new AssetError('LIMIT', `Cannot read ${what}: it has more modules than ${LIMITS.tensors}, or deeper than ${LIMITS.keySegments}`)
    if (!is(state, 'dict')) {
      if (state !== undefined && holds(state, (value) => is(value, 'tensor') || is(value, 'refused')))
        throw new AssetError(
          'UNSUPPORTED',
          `Cannot read ${what}: ${quoted(prefix + name)} holds packed weights; export the model before it is quantised`,
        )
      return
    }
    for (const [key, value] of state.entries ?? []) {
      if (is(value, 'tensor') || is(value, 'refused')) addTensor(tensors, typeof key === 'string' ? prefix + key : key, value, what)
      else if (is(value, 'instance')) visit(value, `${prefix}${String(key)}.`, depth + 1)
    }
  }
  visit(root, '', 0)
  if (tensors.size === 0) throw bad(what, 'it holds no tensors')
  return tensors
}
