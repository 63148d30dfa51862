import { crc32 } from 'node:zlib'
import { AssetError } from '../../core/errors.js'
import { LIMITS } from '../../core/limits.js'
import { type Readable, readExactly } from '../../core/read.js'
import { quoted } from '../../graph/names.js'
import type { SourceFile, TensorRef } from '../checkpoint.js'
import { surroundings } from './globals.js'
import { readPickle } from './pickle.js'
import { tensorRefs } from './refs.js'
import { scriptTensors } from './script.js'
import { stateDict } from './state-dict.js'
import { bad } from './values.js'
import { readZipDirectory, type ZipEntry } from './zip.js'

/**
 * The tensors of a ZIP archive that torch.save or torch.jit.save wrote: `<name>/data.pkl` says what they are, each storage
 * is an entry of its own, stored as it is. Only the directory and that pickle are read.
 * @throws AssetError 'BAD_INPUT' | 'UNSUPPORTED' | 'LIMIT' | 'CORRUPT' | 'IO'
 */
export async function readArchive(handle: Readable, file: SourceFile): Promise<Map<string, TensorRef>> {
  const what = file.path
  const entries = await readZipDirectory(handle, file.size, what)
  const pickles = [...entries.keys()].filter((name) => /^[^/]*\/data\.pkl$/.test(name))
  if (pickles.length !== 1) throw bad(what, `it is a ZIP archive with ${pickles.length} entries data.pkl, one of torch.save has one`)
  const folder = pickles[0]!.slice(0, -'data.pkl'.length)
  const read = (name: string, limit: number) => readEntry(handle, entries.get(folder + name)!, limit, `${folder}${name} of ${what}`)
  if (entries.has(`${folder}byteorder`)) {
    const order = Buffer.from(await read('byteorder', 16)).toString('latin1')
    if (order !== 'little') throw new AssetError('UNSUPPORTED', `Cannot read ${what}: its byte order is ${quoted(order)}, expected little`)
  }
  const isScript = entries.has(`${folder}constants.pkl`)
  const pickle = await read('data.pkl', LIMITS.pickle)
  const recorded = readPickle(pickle, 0, what, surroundings(what, isScript))
  if (!recorded) throw bad(what, 'its pickle ends before it is complete')
  if (recorded.end !== pickle.byteLength) throw bad(what, `${pickle.byteLength - recorded.end} bytes follow its pickle`)
  const tensors = isScript ? scriptTensors(recorded.value, what) : stateDict(recorded.value, what)
  return tensorRefs(tensors, file, ({ key }) => {
    const entry = entries.get(`${folder}data/${key}`)
    if (!entry)
      throw new AssetError('MISSING', `Cannot read ${what}: its entry ${quoted(`${folder}data/${key}`)} is missing; get the file again`)
    return plain(entry, `data/${key} of ${what}`)
  })
}

function plain(entry: ZipEntry, what: string): ZipEntry {
  if (entry.stored) return entry
  throw new AssetError(
    'UNSUPPORTED',
    `Cannot read ${what}: it is compressed or encrypted, which torch.save never does; load and save the file with torch`,
  )
}

async function readEntry(handle: Readable, entry: ZipEntry, limit: number, what: string): Promise<Uint8Array> {
  const { offset, size, crc32: expected } = plain(entry, what)
  if (size > limit) throw new AssetError('LIMIT', `Cannot read ${what}: it has ${size} bytes, the limit is ${limit}`)
  const bytes = new Uint8Array(size)
  await readExactly(handle, bytes, offset, what)
  if (crc32(bytes) !== expected)
    throw new AssetError('CORRUPT', `Cannot read ${what}: its bytes don't match its checksum; get the file again`)
  return bytes
}
