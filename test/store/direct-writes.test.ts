import { equal, ok } from 'node:assert/strict'
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, type TestContext, test } from 'vitest'
import { alignedBytes } from '../../src/core/aligned.js'
import { LEAF, PAGE } from '../../src/core/limits.js'
import { DirectWrites } from '../../src/store/direct-writes.js'
import { temporary } from '../sources/files.js'

/** Direct writes to a new file; the test is skipped where the disk of temporary files has none. */
async function writesTo(path: string, { skip }: TestContext): Promise<DirectWrites> {
  await using _ = await open(path, 'w')
  return (await DirectWrites.open(path)) ?? skip('temporary files lie where nothing is written directly')
}

/** Bytes that differ from page to page and from seed to seed. */
function pages(count: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: count * PAGE }, (_, at) => (at ^ (at >> 12) ^ seed) & 0xff)
}

describe.runIf(process.platform === 'linux')('direct writes', () => {
  test('put whole pages where they belong, more of them at once than there is memory for', async (context) => {
    await using folder = await temporary()
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: LEAF / PAGE }), { minLength: 1, maxLength: 12 }), async (counts) => {
        const path = join(folder.path, 'file')
        const writes = await writesTo(path, context)
        try {
          const written = await Promise.all(counts.map((count, at) => writes.write(pages(count, at), at * LEAF)))
          ok(written.every((done) => done))
        } finally {
          await writes.close()
        }
        const found = await readFile(path)
        equal(found.byteLength, (counts.length - 1) * LEAF + counts.at(-1)! * PAGE)
        for (const [at, count] of counts.entries())
          equal(Buffer.compare(found.subarray(at * LEAF, at * LEAF + count * PAGE), pages(count, at)), 0)
      }),
      { numRuns: 8 },
    )
  })

  test('leave parts of pages, and what is too long, to others', async (context) => {
    await using folder = await temporary()
    const path = join(folder.path, 'file')
    const writes = await writesTo(path, context)
    equal(await writes.write(new Uint8Array(PAGE + 1), 0), false)
    equal(await writes.write(new Uint8Array(PAGE), 1), false)
    equal(await writes.write(new Uint8Array(LEAF + PAGE), 0), false)
    await writes.close()
    equal((await readFile(path)).byteLength, 0)
  })

  test('are not for what is no file', async () => {
    await using folder = await temporary()
    equal(await DirectWrites.open(join(folder.path, 'none')), undefined)
  })
})

test('memory at page addresses has the size that was asked for, and is zero', () => {
  const bytes = alignedBytes(PAGE + 1)!
  equal(bytes.byteLength, PAGE + 1)
  ok(bytes.every((byte) => byte === 0))
})
