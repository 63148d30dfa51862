import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { planResidency, type WeightUse } from '../../src/plan/pinned.js'
import { Window } from '../../src/plan/window.js'

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

  it('plans fifty thousand matrices, each beside a vector', () => {
    const segments = Array.from({ length: 50_000 }, (_, at) => [use(`w${at}`, 1000 + (at % 7)), use(`n${at}`, 1, false)])
    const { total } = planResidency(segments, Number.MAX_SAFE_INTEGER)
    const budget = Math.floor(total * 0.6)
    const plan = planResidency(segments, budget)
    expect(plan.pinnedBytes + plan.bytesPerPass).toBe(total)
    expect(budget - plan.pinnedBytes).toBeLessThan(4 * 1007)
  })
})

describe('the window of streamed weights', () => {
  /** As it is defined: segments that stream, each with the next of them, around the end. */
  function naive(segments: readonly (readonly WeightUse[])[], streaming: ReadonlySet<string>): number {
    const needs = segments
      .map((uses) => uses.filter(({ name }) => streaming.has(name)).reduce((sum, { length }) => sum + length, 0))
      .filter((need) => need > 0)
    return needs.length === 1 ? needs[0]! : Math.max(0, ...needs.map((need, at) => need + needs[(at + 1) % needs.length]!))
  }

  it('is that of the definition after any changes', () => {
    const weights = Array.from({ length: 12 }, (_, at) => use(`w${at}`, at === 3 ? 0 : 1 + ((at * 37) % 50)))
    const segment = fc.uniqueArray(fc.constantFrom(...weights), { maxLength: 3 })
    const changes = fc.array(fc.constantFrom(...weights.map(({ name }) => name)), { maxLength: 40 })
    fc.assert(
      fc.property(fc.array(segment, { maxLength: 20 }), changes, (segments, toggled) => {
        const window = new Window(segments)
        const streaming = new Set<string>()
        for (const name of toggled) {
          const starts = !streaming.has(name)
          window.set(name, starts)
          if (starts) streaming.add(name)
          else streaming.delete(name)
          expect(window.bytes).toBe(naive(segments, streaming))
        }
      }),
      { numRuns: 500 },
    )
  })
})
