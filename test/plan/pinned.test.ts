import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { planResidency, type WeightUse } from '../../src/plan/pinned.js'

const use = (name: string, length: number, matrix = true): WeightUse => ({ name, length, matrix })

describe('the plan of what stays in memory', () => {
  it('pins everything where it fits, streams nothing', () => {
    const plan = planResidency([[use('a', 10), use('n', 1, false)], [use('b', 20)]], 31)
    expect(plan).toMatchObject({ total: 31, pinnedBytes: 31, bytesPerPass: 0, streamed: [], minimum: 31 })
  })

  it('gives up one of eight equal weights for each that the budget lacks, and two for read-ahead', () => {
    const layers = Array.from({ length: 8 }, (_, at) => [use(`w${at}`, 100)])
    const plan = planResidency(layers, 600)
    expect(plan.minimum).toBe(200)
    expect(plan.pinnedBytes).toBe(400)
    expect(plan.bytesPerPass).toBe(400)
    // spread evenly: no two neighbours are both pinned or both streamed
    const streamed = new Set(plan.streamed.map(({ name }) => name))
    for (let at = 0; at < 7; at++) expect(streamed.has(`w${at}`)).not.toBe(streamed.has(`w${at + 1}`))
  })

  it('names the minimum', () => {
    expect(() => planResidency([[use('a', 100)], [use('b', 50)], [use('c', 10)]], 149)).toThrow(/give at least 150 bytes/)
  })

  it('keeps every promise for any sizes and any budget from the minimum up', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 30 })
    fc.assert(
      fc.property(sizes, fc.double({ min: 0, max: 1, noNaN: true }), (lengths, share) => {
        const segments = lengths.map((length, at) => [use(`w${at}`, length), use(`n${at}`, 1, false)])
        const { minimum, total } = planResidency(segments, Number.MAX_SAFE_INTEGER)
        const budget = Math.floor(minimum + share * (total - minimum))
        const plan = planResidency(segments, budget)
        const streamed = plan.streamed.map(({ length }) => length)
        expect(plan.pinnedBytes + plan.bytesPerPass).toBe(total)
        expect(plan.pinnedBytes + plan.window).toBe(budget)
        for (const [at, length] of streamed.entries()) {
          const next = streamed.length > 1 ? streamed[(at + 1) % streamed.length]! : 0
          expect(length + next).toBeLessThanOrEqual(plan.window)
        }
      }),
    )
  })
})
