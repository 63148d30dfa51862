import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Summer } from '../../src/asset/sums.js'
import { FragmentFile } from '../../src/store/fragment-file.js'
import { temporary } from '../sources/files.js'

describe('reading a file by pages', () => {
  it('gives the bytes of any range, for files of any size', async () => {
    await using folder = await temporary()
    const sizes = [1, 4095, 4096, 4097, 12288, 20000]
    const files = new Map<number, { bytes: Uint8Array; file: FragmentFile }>()
    for (const size of sizes) {
      const bytes = randomBytes(size)
      const summer = new Summer()
      summer.update(bytes)
      const path = await folder.write(`f${size}`, bytes)
      files.set(size, { bytes, file: await FragmentFile.open(path, 'a file', size, summer.finish().pages) })
    }
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...sizes), fc.nat(), fc.nat(), async (size, from, length) => {
        const { bytes, file } = files.get(size)!
        const offset = from % size
        const target = new Uint8Array(length % (size - offset + 1))
        const pages = await file.read(target, offset)
        expect(Buffer.compare(target, bytes.subarray(offset, offset + target.byteLength))).toBe(0)
        expect(pages).toBeLessThanOrEqual(size)
      }),
      { numRuns: 500 },
    )
    for (const { file } of files.values()) await file.close()
  })
})
