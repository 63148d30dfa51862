import { execFile } from 'node:child_process'
import { open } from 'node:fs/promises'
import { promisify } from 'node:util'
import { deflateRawSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { temporary } from '../sources/files.js'
import { archive, dict, type Entry, floats, pickle, tensor, zip } from '../sources/torch-files.js'
import { refusal } from './refusal.js'

const root = pickle(dict({ w: tensor({ elements: 4, shape: [2, 2], strides: [2, 1] }) }))
const data: Entry = { name: 'a/data.pkl', data: root }
const storage: Entry = { name: 'a/data/0', data: floats(4) }

describe('a hostile archive', () => {
  it('21: as torch writes it is read', async () => {
    expect(await refusal(zip([data, storage]))).toMatch(/^it was taken as bafy/)
  })

  const cases: [string, string, Uint8Array, RegExp][] = [
    ['21', 'flags that differ', zip([{ ...data, ownFlags: 0x800 }, storage]), /another size, checksum, flag/],
    ['21', 'an entry that is encrypted', zip([data, { ...storage, flags: 1 }]), /damaged|compressed or encrypted/],
    ['21', 'strong encryption', zip([data, { ...storage, flags: 0x41 }]), /strong encryption/],
    ['21', 'another checksum in the header of an entry', zip([{ ...data, ownCrc: 1 }, storage]), /another size, checksum, flag/],
    ['21', 'a checksum that its pickle has not', zip([{ ...data, crc: 1 }, storage]), /CORRUPT .*don't match its checksum/],
    [
      '21',
      'a name that differs',
      zip([{ ...data, ownName: 'b/data.pkl' }, storage]),
      /its entry "a\/data\.pkl" calls itself "b\/data\.pkl"/,
    ],
    ['21', 'two pickles of one name', zip([data, data, storage]), /two entries "a\/data\.pkl"/],
    ['21', 'two pickles of two folders', zip([data, { ...data, name: 'b/data.pkl' }, storage]), /2 entries data\.pkl/],
    ['21', 'no pickle', zip([storage]), /0 entries data\.pkl/],
    ['21', 'nothing', zip([]), /0 entries data\.pkl/],
    [
      '21',
      'another byte order',
      zip([data, storage, { name: 'a/byteorder', data: Buffer.from('big') }]),
      /UNSUPPORTED .*byte order is "big"/,
    ],
    ['21', 'a storage that is missing', zip([data]), /MISSING .*"a\/data\/0" is missing/],
    ['21', 'a storage that is too short', zip([data, { ...storage, data: floats(3) }]), /should have 16 bytes, it has 12/],
    [
      '21',
      'bytes after its end',
      Buffer.concat([zip([data, storage]), Buffer.alloc(9)]),
      /ZIP directory is damaged \(Invalid comment length/,
    ],
    ['21', 'its end only', zip([data, storage]).subarray(-22), /0 entries|damaged/],
    ['21', 'no end', zip([data, storage]).subarray(0, -22), /ZIP directory is damaged/],
    [
      '22',
      'a pickle that is compressed',
      zip([{ name: 'a/data.pkl', data: deflateRawSync(root), method: 8 }, storage]),
      /UNSUPPORTED .*compressed or encrypted/,
    ],
    [
      '22',
      'a storage that is compressed',
      zip([data, { name: 'a/data/0', data: deflateRawSync(Buffer.alloc(1e6)), method: 8 }]),
      /UNSUPPORTED .*compressed/,
    ],
    [
      '22',
      'entries that overlap',
      zip([data, storage, { ...storage, name: 'a/data/1', offset: 0, ownName: 'a/data/1' }]),
      /calls itself|overlap/,
    ],
    [
      '22',
      'an entry that leaves the archive',
      zip([data, storage, { name: '../../etc/cron.d/x', data: root }]),
      /damaged \(invalid relative path/,
    ],
    ['22', 'an entry with an absolute path', zip([data, storage, { name: '/etc/passwd', data: root }]), /damaged \(absolute path/],
    ['22', 'an entry with a drive', zip([data, storage, { name: 'C:\\x', data: root }]), /damaged \(/],
    ['22', 'an entry beyond the file', zip([data, { ...storage, size: 2 ** 31 }]), /overflows file bounds|ends beyond/],
    ['22', 'an entry whose header is beyond the file', zip([data, { ...storage, offset: 2 ** 31 }]), /beyond the end of the file/],
  ]
  it.each(cases)('%s: with %s is refused', async (_, __, bytes, expected) => {
    expect(await refusal(bytes)).toMatch(expected)
  })

  it('22: entries whose ranges overlap are refused, though each agrees with its header', async () => {
    // The second lies in the data of the first.
    const inner = zip([{ name: 'a/data/1', data: floats(1) }])
    const bytes = zip([data, storage, { name: 'a/x', data: inner }, { name: 'a/data/1', data: floats(1) }])
    const at = bytes.indexOf(inner)
    const directory = bytes.lastIndexOf('a/data/1') - 46
    bytes.writeUInt32LE(at, directory + 42)
    expect(await refusal(bytes)).toMatch(/its entries overlap at byte/)
  })

  it('21: another file by the name of weights is refused by what is in it', async () => {
    for (const magic of ['7z\xbc\xaf\x27\x1c', '\x1f\x8b\x08', 'Rar!\x1a\x07', '\x7fELF', '<html>', 'GGUX'])
      expect(await refusal(Buffer.concat([Buffer.from(magic, 'latin1'), Buffer.alloc(600)]))).toMatch(
        /BAD_INPUT .*neither safetensors, GGUF, ONNX nor/,
      )
    expect(await refusal(new Uint8Array(0))).toMatch(/BAD_INPUT .*neither/)
  })

  it('22: a million entries are refused before they are read', async () => {
    const bytes = zip([data, storage])
    // In the form of ZIP64, which has room for the number.
    const end = Buffer.alloc(76)
    end.write('PK\x06\x06', 'latin1')
    end.writeBigUInt64LE(44n, 4)
    end.writeBigUInt64LE(5_000_000n, 24)
    end.writeBigUInt64LE(5_000_000n, 32)
    end.write('PK\x06\x07', 56, 'latin1')
    end.writeBigUInt64LE(BigInt(bytes.byteLength - 22), 64)
    expect(await refusal(Buffer.concat([bytes.subarray(0, -22), end, bytes.subarray(-22)]))).toMatch(
      /LIMIT .*5000000 entries, the limit is 1000000/,
    )
  })

  it('of 20 GB is opened by its directory alone', async () => {
    await using folder = await temporary()
    const path = `${folder.path}/large.pt`
    const elements = 5_000_000_000
    const head = zip([
      { name: 'a/data.pkl', data: pickle(dict({ w: tensor({ elements, shape: [100_000, 50_000], strides: [1, 100_000] }) })) },
    ])
    const { bytes, holeAt } = withHole(head, 'a/data/0', elements * 4)
    const handle = await open(path, 'w')
    await handle.write(bytes.subarray(0, holeAt), 0, holeAt, 0)
    await handle.write(bytes, holeAt, bytes.byteLength - holeAt, holeAt + elements * 4)
    await handle.close()
    const script = `const { openCheckpoint } = await import(${JSON.stringify(new URL('../../src/sources/open.js', import.meta.url).href)})
      const { open } = await import('node:fs/promises')
      const handle = await open(process.argv[1])
      let read = 0
      const proto = Object.getPrototypeOf(handle)
      const original = proto.read
      proto.read = async function (...args) { const got = await original.apply(this, args); read += got.bytesRead; return got }
      await handle.close()
      const before = process.resourceUsage().maxRSS
      const { tensors } = await openCheckpoint(process.argv[1])
      const w = tensors.get('w')
      console.log(JSON.stringify({ read, memory: process.resourceUsage().maxRSS - before, length: w.length, counts: w.strided.counts }))`
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script, path])
    const { read, memory, length, counts } = JSON.parse(stdout)
    expect(length).toBe(elements * 4)
    expect(counts).toEqual([100_000, 50_000])
    expect(read).toBeLessThan(100_000)
    expect(memory).toBeLessThan(50_000)
  })
})

/** The bytes of an archive with one more entry, whose data would begin at `holeAt` and is left out; with ZIP64 sizes. */
function withHole(head: Buffer, name: string, size: number): { bytes: Buffer; holeAt: number } {
  const directoryAt = head.readUInt32LE(head.byteLength - 6)
  const [before, directory] = [head.subarray(0, directoryAt), head.subarray(directoryAt, -22)]
  const sizes = Buffer.alloc(20)
  sizes.writeUInt16LE(1, 0)
  sizes.writeUInt16LE(16, 2)
  sizes.writeBigUInt64LE(BigInt(size), 4)
  sizes.writeBigUInt64LE(BigInt(size), 12)
  const local = Buffer.alloc(30)
  local.write('PK\x03\x04', 'latin1')
  local.writeUInt32LE(0xffffffff, 18)
  local.writeUInt32LE(0xffffffff, 22)
  local.writeUInt16LE(name.length, 26)
  local.writeUInt16LE(20, 28)
  const central = Buffer.alloc(46)
  central.write('PK\x01\x02', 'latin1')
  central.writeUInt32LE(0xffffffff, 20)
  central.writeUInt32LE(0xffffffff, 24)
  central.writeUInt16LE(name.length, 28)
  central.writeUInt16LE(20, 30)
  central.writeUInt32LE(before.byteLength, 42)
  const opening = Buffer.concat([before, local, Buffer.from(name), sizes])
  const listing = Buffer.concat([directory, central, Buffer.from(name), sizes])
  const end = Buffer.alloc(76)
  const at = opening.byteLength + size
  end.write('PK\x06\x06', 'latin1')
  end.writeBigUInt64LE(44n, 4)
  end.writeBigUInt64LE(2n, 24)
  end.writeBigUInt64LE(2n, 32)
  end.writeBigUInt64LE(BigInt(listing.byteLength), 40)
  end.writeBigUInt64LE(BigInt(at), 48)
  end.write('PK\x06\x07', 56, 'latin1')
  end.writeBigUInt64LE(BigInt(at + listing.byteLength), 64)
  const last = Buffer.alloc(22)
  last.write('PK\x05\x06', 'latin1')
  last.writeUInt16LE(2, 8)
  last.writeUInt16LE(2, 10)
  last.writeUInt32LE(0xffffffff, 16)
  return { bytes: Buffer.concat([opening, listing, end, last]), holeAt: opening.byteLength }
}

describe('an archive', () => {
  it('21: cut or changed anywhere is read as it is or refused, never half', async () => {
    const whole = archive(root, { '0': floats(4) })
    for (let length = 1; length < whole.byteLength; length += 7)
      expect(await refusal(whole.subarray(0, length))).toMatch(/^(BAD_INPUT|CORRUPT) /)
  })
})
