import { AssetError } from '../../core/errors.js'
import { LIMITS } from '../../core/limits.js'
import { type Readable, readExactly } from '../../core/read.js'
import { quoted } from '../../graph/names.js'
import type { SourceFile, TensorRef } from '../checkpoint.js'
import { surroundings } from './globals.js'
import { readPickle } from './pickle.js'
import { tensorRefs } from './refs.js'
import { stateDict } from './state-dict.js'
import { bad, is, type Storage, type Value } from './values.js'

const MAGIC = 0x1950a86a20f9469cfc6cn
const PROTOCOL = 1001
/** Bytes that are read at first; most state dicts say what they are in less. */
const FIRST = 1024 * 1024

/**
 * The tensors of a file that torch.save wrote before 1.6: pickles of a magic number, a version, the machine, the state dict
 * and the keys of the storages, one after the other, then the storages in that order, each after its number of elements.
 * @throws AssetError 'BAD_INPUT' | 'UNSUPPORTED' | 'LIMIT' | 'CORRUPT' | 'IO'
 */
export async function readStacked(handle: Readable, file: SourceFile): Promise<Map<string, TensorRef>> {
  const what = file.path
  const { values, end, storages } = await readPickles(handle, file)
  const [, , machine, root, keys] = values as [Value, Value, Value, Value, Value]
  if (!is(machine, 'dict') || machine.entries?.get('little_endian') !== true)
    throw new AssetError('UNSUPPORTED', `Cannot read ${what}: it was written by a machine whose byte order is not little-endian`)
  const tensors = stateDict(root, what)
  const places = new Map<string, { offset: number; size: number }>()
  let at = end
  for (const key of is(keys, 'list') ? (keys.items ?? []) : [keys]) {
    const storage = typeof key === 'string' ? storages.get(key) : undefined
    if (!storage || places.has(storage.key)) throw bad(what, 'its list of storages is not that of its tensors')
    const name = `storage ${quoted(storage.key)}`
    const count = Buffer.alloc(8)
    if (at + 8 > file.size) throw bad(what, `${name} is beyond its end; it is truncated`)
    await readExactly(handle, count, at, what)
    if (count.readBigInt64LE() !== BigInt(storage.elements))
      throw bad(what, `${name} has ${count.readBigInt64LE()} elements, its tensors say ${storage.elements}`)
    const length = storage.elements * storage.size
    if (!(length <= file.size - at - 8)) throw bad(what, `${name} should have ${length} bytes, more than there are; it is truncated`)
    places.set(storage.key, { offset: at + 8, size: length })
    at += 8 + length
  }
  if (at !== file.size) throw bad(what, `${file.size - at} bytes follow its last storage`)
  return tensorRefs(tensors, file, ({ key }) => {
    const place = places.get(key)
    if (!place) throw new AssetError('MISSING', `Cannot read ${what}: its storage ${quoted(key)} is missing; get the file again`)
    return place
  })
}

/** The five pickles. How long they are nobody says, so more is read until they end. */
async function readPickles(
  handle: Readable,
  file: SourceFile,
): Promise<{ values: Value[]; end: number; storages: ReadonlyMap<string, Storage> }> {
  const what = file.path
  const most = Math.min(file.size, LIMITS.pickle)
  for (let length = Math.min(FIRST, most); ; length = Math.min(length * 4, most)) {
    const bytes = new Uint8Array(length)
    await readExactly(handle, bytes, 0, what)
    const values: Value[] = []
    const allowed = surroundings(what, false)
    let end = 0
    while (values.length < 5) {
      const recorded = readPickle(bytes, end, what, allowed)
      if (!recorded) break
      values.push(recorded.value)
      end = recorded.end
      if (values[0] !== MAGIC) throw bad(what, 'it is a pickle, but not one of torch.save')
      if (values.length === 2 && values[1] !== PROTOCOL) throw bad(what, `its version is not ${PROTOCOL}`)
    }
    if (values.length === 5) return { values, end, storages: allowed.storages }
    if (length === file.size) throw bad(what, 'its pickles end before they are complete; it is truncated')
    if (length === most) throw new AssetError('LIMIT', `Cannot read ${what}: its pickles have more than ${LIMITS.pickle} bytes`)
  }
}
