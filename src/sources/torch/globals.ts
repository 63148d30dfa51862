import { type Dtype, dtypeSize } from '../../core/dtypes.js'
import { AssetError } from '../../core/errors.js'
import { quoted } from '../../graph/names.js'
import type { Surroundings } from './machine.js'
import { rebuild, rebuildTyped } from './rebuild.js'
import { bad, type Global, is, nameOfKind, OPAQUE, type Refused, type Storage, type Value } from './values.js'

/** The element types of torch by their names; those that safetensors lacks are told of where a tensor has one. */
const DTYPES: Record<string, Dtype> = {
  float32: 'F32',
  float64: 'F64',
  float16: 'F16',
  bfloat16: 'BF16',
  int64: 'I64',
  int32: 'I32',
  int16: 'I16',
  int8: 'I8',
  uint8: 'U8',
  uint16: 'U16',
  uint32: 'U32',
  uint64: 'U64',
  bool: 'BOOL',
  float8_e4m3fn: 'F8_E4M3',
  float8_e5m2: 'F8_E5M2',
}

const STORAGES: Record<string, Dtype> = {
  FloatStorage: 'F32',
  DoubleStorage: 'F64',
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  LongStorage: 'I64',
  IntStorage: 'I32',
  ShortStorage: 'I16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  BoolStorage: 'BOOL',
}

const QUANTISED = 'it is quantised; dequantise the model and save it again'
const COMPLEX = 'it is of complex numbers, which safetensors has no type for'
const REFUSED_STORAGES: Record<string, { size: number; refused: string }> = {
  QInt8Storage: { size: 1, refused: QUANTISED },
  QUInt8Storage: { size: 1, refused: QUANTISED },
  QInt32Storage: { size: 4, refused: QUANTISED },
  QUInt4x2Storage: { size: 1, refused: QUANTISED },
  QUInt2x4Storage: { size: 1, refused: QUANTISED },
  ComplexFloatStorage: { size: 8, refused: COMPLEX },
  ComplexDoubleStorage: { size: 16, refused: COMPLEX },
}

const opaque = () => OPAQUE
const refuse = (why: string) => (): Refused => ({ kind: 'refused', why })
const first = (args: readonly Value[]): Value => args[0] ?? OPAQUE

const ALLOWED = new Map<string, Omit<Global, 'kind' | 'name'>>([
  ['collections.OrderedDict', { reduce: orderedDict }],
  ['collections.Counter', { reduce: opaque }],
  ['builtins.set', { reduce: opaque }],
  ['__builtin__.set', { reduce: opaque }],
  ['torch.Size', { reduce: first }],
  ['torch.Tensor', {}],
  ['torch.nn.parameter.Parameter', {}],
  ['torch.device', { reduce: opaque }],
  ['torch.serialization._get_layout', { reduce: opaque }],
  ['torch._utils._rebuild_tensor', { reduce: rebuild }],
  ['torch._utils._rebuild_tensor_v2', { reduce: rebuild }],
  ['torch._utils._rebuild_tensor_v3', { reduce: rebuildTyped }],
  ['torch._utils._rebuild_parameter', { reduce: first }],
  ['torch._utils._rebuild_parameter_with_state', { reduce: first }],
  ['torch._tensor._rebuild_from_type_v2', { reduce: ofType }],
  ['torch._utils._rebuild_qtensor', { reduce: refuse(QUANTISED) }],
  ['torch._utils._rebuild_sparse_tensor', { reduce: refuse('it is sparse; make it dense and save it again') }],
  ['torch._utils._rebuild_meta_tensor_no_storage', { reduce: refuse('it has no data (it was saved from the device "meta")') }],
  // numbers that training loops leave beside a state dict
  ['numpy.core.multiarray.scalar', { reduce: opaque }],
  ['numpy._core.multiarray.scalar', { reduce: opaque }],
  ['numpy.dtype', { reduce: opaque }],
  ['_codecs.encode', { reduce: opaque }],
])
for (const quantisation of ['per_tensor_affine', 'per_channel_affine', 'per_tensor_symmetric', 'per_channel_symmetric'])
  ALLOWED.set(`torch.${quantisation}`, {})

/** What TorchScript archives name beside that. */
const ALLOWED_SCRIPT = new Map<string, Omit<Global, 'kind' | 'name'>>(
  ['restore_type_tag', 'build_intlist', 'build_doublelist', 'build_boollist', 'build_tensorlist'].map((name) => [
    `torch.jit._pickle.${name}`,
    { reduce: first },
  ]),
)

/**
 * What the pickle of a checkpoint may name: storages, element types, the functions that rebuild tensors, and a few things
 * of no use here that are beside state dicts. With `isScript` also the classes of a TorchScript archive, which are data.
 * `storages` are those that were mentioned so far, by their keys.
 */
export function surroundings(what: string, isScript: boolean): Surroundings & { readonly storages: ReadonlyMap<string, Storage> } {
  const storages = new Map<string, Storage>()
  return {
    storages,
    global: (name) => globalOf(name, isScript, what),
    persistent: (id) => {
      const storage = storageOf(id, what)
      const known = storages.get(storage.key)
      if (known && (known.elements !== storage.elements || known.size !== storage.size))
        throw bad(what, `storage ${quoted(storage.key)} has two sizes`)
      storages.set(storage.key, storage)
      return storage
    },
  }
}

function globalOf(name: string, isScript: boolean, what: string): Global {
  const allowed = ALLOWED.get(name) ?? (isScript ? ALLOWED_SCRIPT.get(name) : undefined)
  if (allowed) return { kind: 'global', name, ...allowed }
  if (isScript && name.startsWith('__torch__.')) return { kind: 'global', name, isClass: true }
  const plain = /^torch\.(?:cuda\.)?(\w+)$/.exec(name)?.[1] ?? ''
  const storage = Object.hasOwn(STORAGES, plain) ? STORAGES[plain] : undefined
  if (storage) return { kind: 'global', name, storage: { dtype: storage, size: dtypeSize(storage) } }
  if (Object.hasOwn(REFUSED_STORAGES, plain)) return { kind: 'global', name, storage: REFUSED_STORAGES[plain]! }
  if (/^torch(\.storage)?\._?UntypedStorage$/.test(name)) return { kind: 'global', name, storage: { size: 1 } }
  if (Object.hasOwn(DTYPES, plain)) return { kind: 'global', name, dtype: DTYPES[plain]! }
  if (/^torch\.(float|complex|bfloat|q?u?int|bits)\w+$/.test(name)) return { kind: 'global', name, dtype: 'unknown' }
  throw new AssetError(
    'BAD_INPUT',
    `Cannot read ${what}: its pickle names ${quoted(name)}, which is not on the short list of what a state dict needs; ` +
      'nothing in it was run. Save the state dict alone, torch.save(model.state_dict(), FILE), or use scripts/fragment.py',
  )
}

function orderedDict(args: readonly Value[], what: string): Value {
  if (args.length === 0) return { kind: 'dict', entries: undefined }
  const [pairs] = args
  if (args.length > 1 || !is(pairs, 'list')) throw bad(what, 'an OrderedDict of its pickle is not made of a list')
  const entries = new Map<Value, Value>()
  for (const pair of pairs.items ?? []) {
    if (!(is(pair, 'list') || is(pair, 'tuple')) || pair.items?.length !== 2)
      throw bad(what, 'an OrderedDict of its pickle is not made of pairs')
    const [key, value] = pair.items as [Value, Value]
    if (entries.has(key)) throw bad(what, `an OrderedDict of its pickle has the key ${quoted(String(key))} twice`)
    entries.set(key, value)
  }
  return { kind: 'dict', entries }
}

/** A tensor that carries attributes: (how it is rebuilt, its type, the arguments, the attributes). */
function ofType(args: readonly Value[], what: string): Value {
  const [how, type, inner] = args
  if (
    args.length !== 4 ||
    !is(how, 'global') ||
    !how.name.startsWith('torch._utils._rebuild_') ||
    !how.reduce ||
    !is(type, 'global') ||
    !is(inner, 'tuple')
  )
    throw bad(what, 'a tensor with attributes of its pickle is not as torch writes it')
  return how.reduce(inner.items, what)
}

/** A storage as pickles refer to it: ('storage', type, key, device, elements), and in stacked files a view, which must be None. */
function storageOf(id: Value, what: string): Storage {
  const [tag, type, key, , elements, view] = is(id, 'tuple') ? id.items : []
  if (tag !== 'storage' || !is(type, 'global') || !type.storage || typeof key !== 'string')
    throw bad(what, `its pickle refers to ${nameOfKind(id)} that is not a storage`)
  if (!Number.isSafeInteger(elements) || (elements as number) < 0) throw bad(what, `storage ${quoted(key)} has no valid size`)
  if (view !== undefined && view !== null)
    throw new AssetError(
      'UNSUPPORTED',
      `Cannot read ${what}: storage ${quoted(key)} is a view of another, as PyTorch before 0.4 wrote them`,
    )
  return { kind: 'storage', key, elements: elements as number, ...type.storage }
}
