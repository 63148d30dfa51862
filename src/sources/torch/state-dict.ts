import { AssetError } from '../../core/errors.js'
import { LIMITS } from '../../core/limits.js'
import { quoted, shown } from '../../graph/names.js'
import { holds } from './nesting.js'
import { bad, is, nameOfKind, type Refused, type Tensor, type Value } from './values.js'

/** The keys under which training loops keep the state dict beside other things; the first that holds tensors is taken. */
const WRAPPERS = ['state_dict', 'model_state_dict', 'model', 'module']

/** What wrappers of modules put before all names: DataParallel and DistributedDataParallel, torch.compile. */
const PREFIXES = ['module.', '_orig_mod.']

const isTensor = (value: Value): value is Tensor | Refused => is(value, 'tensor') || is(value, 'refused')

/**
 * The state dict in what torch.save was given: a dictionary of tensors, or one that has it under a usual key. What is no
 * tensor in it (a version, a None) is left out.
 * @throws AssetError 'BAD_INPUT' where it has none, or tensors that have no name of their own; 'UNSUPPORTED' for a tensor
 *   that safetensors can't hold
 */
export function stateDict(root: Value, what: string): Map<string, Tensor> {
  if (!is(root, 'dict')) throw bad(what, `it holds ${nameOfKind(root)} instead of a state dict; ${SAVE}`)
  const tensors = new Map<string, Tensor>()
  for (const [key, value] of unwrapped(root.entries ?? new Map())) {
    if (isTensor(value)) addTensor(tensors, key, value, what)
    else if (holds(value, isTensor))
      throw bad(what, `beside tensors it has ${quoted(String(key))}, which holds tensors that have no name of their own; ${SAVE}`)
  }
  if (tensors.size > 0) return tensors
  const others = [...(root.entries ?? [])].filter(([, value]) => holds(value, isTensor)).map(([key]) => quoted(String(key)))
  const found = others.length === 0 ? 'it holds no tensors' : `it holds tensors, but under ${others.slice(0, 5).join(', ')}`
  throw bad(what, `${found}, and no state dict at its top or under ${WRAPPERS.join(', ')}; ${SAVE}`)
}

const SAVE = 'save the state dict alone: torch.save(model.state_dict(), FILE)'

function unwrapped(entries: ReadonlyMap<Value, Value>): ReadonlyMap<Value, Value> {
  if ([...entries.values()].some(isTensor)) return entries
  for (const key of WRAPPERS) {
    const inner = entries.get(key)
    if (is(inner, 'dict') && [...(inner.entries?.values() ?? [])].some(isTensor)) return inner.entries!
  }
  return new Map()
}

/** @throws AssetError as {@link stateDict} does */
export function addTensor(tensors: Map<string, Tensor>, name: Value, value: Tensor | Refused, what: string): void {
  if (typeof name !== 'string') throw bad(what, `a tensor has ${nameOfKind(name)} for a name`)
  if (name.length > LIMITS.tensorName) throw bad(what, `tensor ${quoted(name)} has a name that is longer than ${LIMITS.tensorName}`)
  if (value.kind === 'refused') throw new AssetError('UNSUPPORTED', `Cannot read tensor ${shown(name)} of ${what}: ${value.why}`)
  if (tensors.size >= LIMITS.tensors) throw new AssetError('LIMIT', `Cannot read ${what}: it has more than ${LIMITS.tensors} tensors`)
  tensors.set(name, value)
}

/** Takes away what wrappers of modules put before the names, where it is before all of them. */
export function withoutPrefix<T>(tensors: ReadonlyMap<string, T>): ReadonlyMap<string, T> {
  const prefix = PREFIXES.find((prefix) => tensors.size > 0 && [...tensors.keys()].every((name) => name.startsWith(prefix)))
  if (prefix === undefined) return tensors
  return withoutPrefix(new Map([...tensors].map(([name, tensor]) => [name.slice(prefix.length), tensor])))
}
