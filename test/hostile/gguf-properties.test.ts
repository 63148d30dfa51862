import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { randomOf } from '../random.js'
import { temporary } from '../sources/files.js'
import { smallModel } from '../sources/gguf-models.js'
import { openedOrRefused } from './fuzzing.js'
import { mutatedGguf } from './gguf-mutations.js'

describe('changed GGUF files', () => {
  it('24-30: are refused with a typed error, or all of their tensors are within them', async () => {
    await using folder = await temporary()
    const files = [smallModel('F32'), smallModel('Q4_K'), smallModel('Q5_0', 'gpt2')]
    const seen = new Set<string>()
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...files), fc.nat(), async (file, seed) => {
        seen.add(await openedOrRefused(mutatedGguf(file, randomOf(seed)), `${folder.path}/w`))
      }),
      { numRuns: 3000 },
    )
    expect([...seen]).toEqual(expect.arrayContaining(['BAD_INPUT', 'LIMIT', 'UNSUPPORTED', 'read']))
  })
})
