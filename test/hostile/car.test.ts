import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { AssetError } from '../../src/core/errors.js'
import type { Block } from '../../src/transport/broker.js'
import { carFile } from '../../src/transport/car-file.js'
import { carBlocks } from '../../src/transport/car-stream.js'
import { Retriever } from '../../src/transport/retriever.js'
import { temporary } from '../sources/files.js'
import { leaf } from '../transport/made-blocks.js'
import { writtenCar } from '../transport/made-cars.js'

const MIB = 2 ** 20
const [A, B] = [leaf('a'), leaf('b')]
const carOf = (blocks: readonly Block[], roots = [A.cid]) => writtenCar(blocks, roots)

/** What becomes of a CAR as a file: the bytes of both blocks, or the error of each. */
async function asFile(bytes: Uint8Array): Promise<(string | undefined)[]> {
  await using folder = await temporary()
  const car = carFile(await folder.write('in.car', bytes))
  const retriever = new Retriever([car], { rest: 1 })
  try {
    return await Promise.all(
      [A, B].map(({ cid, bytes }) =>
        retriever.block(cid).then(
          (found) => (Buffer.compare(found, bytes) === 0 ? 'right' : 'WRONG'),
          (error: AssetError) => error.code,
        ),
      ),
    )
  } finally {
    await retriever.close()
  }
}

/** The same as a stream, in pieces. */
async function asStream(bytes: Uint8Array, piece = 7): Promise<string[]> {
  const found: string[] = []
  const stream = async function* () {
    for (let at = 0; at < bytes.byteLength; at += piece) yield bytes.subarray(at, at + piece)
  }
  try {
    for await (const block of carBlocks(stream(), 'a stream', MIB)) found.push(Buffer.from(block.bytes).toString())
  } catch (error) {
    found.push((error as AssetError).code)
  }
  return found
}

const varint = (...bytes: number[]) => Buffer.from(bytes)

describe('a hostile CAR', () => {
  it('with a header or a section that says to be huge, or of no length, is refused', async () => {
    const good = await carOf([A, B])
    const header = await carOf([])
    const heads = {
      'huge section': Buffer.concat([header, varint(0xff, 0xff, 0xff, 0xff, 0x7f), good]),
      'zero section': Buffer.concat([header, varint(0), good]),
      'endless varint': Buffer.concat([header, Buffer.alloc(64, 0xff)]),
      'section shorter than its CID': Buffer.concat([header, varint(5), good.subarray(header.byteLength + 1)]),
      'huge header': Buffer.concat([varint(0xff, 0xff, 0xff, 0xff, 0x7f), good]),
      'zero header': Buffer.concat([varint(0), good]),
      'no header': good.subarray(header.byteLength),
    }
    for (const [what, bytes] of Object.entries(heads)) {
      const found = await asFile(bytes)
      expect([what, found.filter((one) => one === 'BAD_INPUT' || one === 'LIMIT' || one === 'NOT_FOUND').length]).toEqual([what, 2])
      expect([what, (await asStream(bytes)).at(-1)]).toEqual([what, expect.stringMatching(/^(BAD_INPUT|LIMIT)$/)])
    }
  })

  it('41, 42: blocks that are others are discarded, repeated and unknown ones ignored, whatever the order', async () => {
    expect(await asFile(await carOf([B, leaf('unknown'), A, A, B]))).toEqual(['right', 'right'])
    expect(await asFile(await carOf([{ cid: A.cid, bytes: B.bytes }]))).toEqual(['CORRUPT', expect.stringMatching(/CORRUPT|NOT_FOUND/)])
    expect(await asFile(await carOf([A]))).toEqual(['right', 'NOT_FOUND'])
    expect(await asFile(await carOf([A, B], []))).toEqual(['right', 'right'])
  })

  it('that is cut off anywhere is refused as a file, and ends as a stream', async () => {
    const good = await carOf([A, B])
    const whole = [await carOf([]), await carOf([A])].map(({ byteLength }) => byteLength)
    for (let end = 0; end < good.byteLength; end++) {
      const found = await asFile(good.subarray(0, end))
      // Nothing tells of what would have come after a whole section.
      if (whole.includes(end)) expect(found).not.toContain('WRONG')
      else expect([end, found[1]]).toEqual([end, expect.stringMatching(/BAD_INPUT|NOT_FOUND/)])
    }
  })

  it('43: of version 2 is read without its index, and where its header lies it is refused', async () => {
    const inner = await carOf([A, B])
    const version2 = (offset: bigint, size: bigint) => {
      const head = Buffer.alloc(51)
      Buffer.from('0aa16776657273696f6e02', 'hex').copy(head)
      head.writeBigUInt64LE(offset, 27)
      head.writeBigUInt64LE(size, 35)
      head.writeBigUInt64LE(BigInt.asUintN(64, offset + size), 43)
      return Buffer.concat([head, inner, Buffer.from('no index at all')])
    }
    expect(await asFile(version2(51n, BigInt(inner.byteLength)))).toEqual(['right', 'right'])
    const lies: [bigint, bigint][] = [
      [0n, 100n],
      [51n, 0n],
      [51n, 2n ** 40n],
      [2n ** 62n, 100n],
      [2n ** 63n, 2n ** 63n],
      [60n, 100n],
    ]
    for (const [offset, size] of lies) expect(await asFile(version2(offset, size))).not.toContain('right')
  })

  it('40: however it was changed, gives right blocks or a typed error', async () => {
    const good = await carOf([A, B])
    const change = fc.tuple(fc.nat(good.byteLength - 1), fc.nat(255))
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), fc.nat(20), async (changes, piece) => {
        const bytes = Buffer.from(good)
        for (const [at, value] of changes) bytes[at] = value
        const known = /^(right|BAD_INPUT|LIMIT|NOT_FOUND|CORRUPT|UNSUPPORTED)$/
        for (const outcome of await asFile(bytes)) expect(outcome).toMatch(known)
        await asStream(bytes, piece + 1)
      }),
      { numRuns: 200 },
    )
  })
})
