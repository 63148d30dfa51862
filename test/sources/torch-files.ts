import { crc32 } from 'node:zlib'

/** A pickle by hand: opcodes and their arguments, one after the other. */
export const op = {
  proto: Buffer.from([0x80, 2]),
  stop: Buffer.from('.'),
  mark: Buffer.from('('),
  none: Buffer.from('N'),
  true: Buffer.from([0x88]),
  false: Buffer.from([0x89]),
  emptyTuple: Buffer.from(')'),
  emptyDict: Buffer.from('}'),
  emptyList: Buffer.from(']'),
  tuple: Buffer.from('t'),
  reduce: Buffer.from('R'),
  build: Buffer.from('b'),
  create: Buffer.from([0x81]),
  setItem: Buffer.from('s'),
  setItems: Buffer.from('u'),
  append: Buffer.from('a'),
  appends: Buffer.from('e'),
  persistent: Buffer.from('Q'),
  put: (index: number) => Buffer.from([0x71, index]),
  get: (index: number) => Buffer.from([0x68, index]),
  global: (name: string) => Buffer.from(`c${name.replace(/\.([^.]*)$/, '\n$1')}\n`),
  text(value: string): Buffer {
    const bytes = Buffer.from(value)
    const head = Buffer.from('X0000')
    head.writeUInt32LE(bytes.byteLength, 1)
    return Buffer.concat([head, bytes])
  },
  int(value: number): Buffer {
    const bytes = Buffer.alloc(10)
    bytes.write('\x8a\x08', 'latin1')
    bytes.writeBigInt64LE(BigInt(value), 2)
    return bytes
  },
  ints: (values: readonly number[]) => Buffer.concat([op.mark, ...values.map(op.int), op.tuple]),
}

/** A whole pickle of one value. */
export function pickle(...parts: readonly Uint8Array[]): Buffer {
  return Buffer.concat([op.proto, ...parts, op.stop])
}

/** A view of a storage as a pickle says it; `elements` are those of the storage. */
export interface View {
  readonly type?: string
  readonly key?: string
  readonly elements: number
  readonly offset?: number
  readonly shape: readonly number[]
  readonly strides: readonly number[]
}

/** The opcodes of a tensor; `stacked` writes the storage as files before 1.6 have it. */
export function tensor({ type = 'FloatStorage', key = '0', elements, offset = 0, shape, strides }: View, stacked = false): Buffer {
  const storage = [op.text('storage'), op.global(`torch.${type}`), op.text(key), op.text('cpu'), op.int(elements)]
  return Buffer.concat([
    op.global('torch._utils._rebuild_tensor_v2'),
    op.mark,
    ...[op.mark, ...storage, ...(stacked ? [op.none] : []), op.tuple, op.persistent],
    ...[op.int(offset), op.ints(shape), op.ints(strides), op.false],
    ...[op.global('collections.OrderedDict'), op.emptyTuple, op.reduce],
    ...[op.tuple, op.reduce],
  ])
}

/** The opcodes of a dictionary. */
export function dict(entries: Readonly<Record<string, Uint8Array>>): Buffer {
  return Buffer.concat([op.emptyDict, op.mark, ...Object.entries(entries).flatMap(([key, value]) => [op.text(key), value]), op.setItems])
}

/** An entry of an archive; what is given beside name and data lies about it. */
export interface Entry {
  readonly name: string
  readonly data: Uint8Array
  readonly ownName?: string
  readonly flags?: number
  readonly ownFlags?: number
  readonly method?: number
  readonly crc?: number
  readonly ownCrc?: number
  readonly size?: number
  readonly ownSize?: number
  readonly offset?: number
}

/** A ZIP archive with room for lies; real ones are those that torch writes. */
export function zip(entries: readonly Entry[]): Buffer {
  const parts: Buffer[] = []
  const directory: Buffer[] = []
  let at = 0
  for (const entry of entries) {
    const { name, data, ownName = name, flags = 0, ownFlags = flags, method = 0, offset = at } = entry
    const { crc = crc32(data), ownCrc = crc, size = data.byteLength, ownSize = size } = entry
    const [listed, own] = [Buffer.from(name), Buffer.from(ownName)]
    const local = Buffer.alloc(30)
    local.write('PK\x03\x04', 'latin1')
    local.writeUInt16LE(ownFlags, 6)
    local.writeUInt16LE(method, 8)
    local.writeUInt32LE(ownCrc, 14)
    local.writeUInt32LE(ownSize, 18)
    local.writeUInt32LE(ownSize, 22)
    local.writeUInt16LE(own.byteLength, 26)
    const central = Buffer.alloc(46)
    central.write('PK\x01\x02', 'latin1')
    central.writeUInt16LE(flags, 8)
    central.writeUInt16LE(method, 10)
    central.writeUInt32LE(crc, 16)
    central.writeUInt32LE(size, 20)
    central.writeUInt32LE(size, 24)
    central.writeUInt16LE(listed.byteLength, 28)
    central.writeUInt32LE(offset, 42)
    directory.push(central, listed)
    parts.push(local, own, Buffer.from(data))
    at += 30 + own.byteLength + data.byteLength
  }
  const end = Buffer.alloc(22)
  end.write('PK\x05\x06', 'latin1')
  end.writeUInt16LE(entries.length, 8)
  end.writeUInt16LE(entries.length, 10)
  end.writeUInt32LE(Buffer.concat(directory).byteLength, 12)
  end.writeUInt32LE(at, 16)
  return Buffer.concat([...parts, ...directory, end])
}

/** What torch.save writes: a pickle and storages by their keys. */
export function archive(data: Uint8Array, storages: Readonly<Record<string, Uint8Array>>, more: readonly Entry[] = []): Buffer {
  const entries = Object.entries(storages).map(([key, bytes]) => ({ name: `archive/data/${key}`, data: bytes }))
  return zip([{ name: 'archive/data.pkl', data }, { name: 'archive/byteorder', data: Buffer.from('little') }, ...entries, ...more])
}

/** What torch.save wrote before 1.6; storages are given with their numbers of elements. */
export function stacked(root: Uint8Array, storages: Readonly<Record<string, { elements: number; bytes: Uint8Array }>>): Buffer {
  const keys = Object.keys(storages)
  const machine = { protocol_version: op.int(1001), little_endian: op.true, type_sizes: op.emptyDict }
  return Buffer.concat([
    Buffer.from('80028a0a6cfc9c46f9206aa850192e8002', 'hex'),
    Buffer.concat([op.int(1001), op.stop]),
    pickle(dict(machine)),
    root,
    pickle(op.emptyList, op.mark, ...keys.map(op.text), op.appends),
    ...Object.values(storages).flatMap(({ elements, bytes }) => {
      const count = Buffer.alloc(8)
      count.writeBigInt64LE(BigInt(elements))
      return [count, Buffer.from(bytes)]
    }),
  ])
}

/** Numbers as the bytes of a storage. */
export function floats(count: number): Uint8Array {
  return new Uint8Array(Float32Array.from({ length: count }, (_, i) => i).buffer)
}

/** The entries of an archive that torch wrote, stored and compressed alike as they lie there; undefined for what is none. */
export function readZip(bytes: Uint8Array): Entry[] | undefined {
  const file = Buffer.from(bytes)
  const end = file.lastIndexOf('PK\x05\x06', undefined, 'latin1')
  if (file.toString('latin1', 0, 4) !== 'PK\x03\x04' || end < 0) return undefined
  const entries: Entry[] = []
  for (let at = file.readUInt32LE(end + 16); at < end && file.toString('latin1', at, at + 4) === 'PK\x01\x02'; ) {
    const [size, nameLength, own] = [file.readUInt32LE(at + 20), file.readUInt16LE(at + 28), file.readUInt32LE(at + 42)]
    const begin = own + 30 + file.readUInt16LE(own + 26) + file.readUInt16LE(own + 28)
    if (file.readUInt16LE(at + 10) === 0)
      entries.push({ name: file.toString('utf8', at + 46, at + 46 + nameLength), data: file.subarray(begin, begin + size) })
    at += 46 + nameLength + file.readUInt16LE(at + 30) + file.readUInt16LE(at + 32)
  }
  return entries
}
