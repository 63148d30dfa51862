import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { divideBudget } from '../../src/plan/budget.js'
import type { WeightUse } from '../../src/plan/pinned.js'
import type { MatrixUse } from '../../src/plan/tiles.js'

const use = (name: string, length: number, matrix = true): WeightUse => ({ name, length, matrix })
const matrix = (name: string, rows: number, rowBytes: number): MatrixUse => ({ name, rows, rowBytes, offset: 0 })
const EVERYTHING = () => Number.MAX_SAFE_INTEGER

const segments = fc
  .array(fc.record({ length: fc.integer({ min: 1, max: 200_000 }), vector: fc.nat(500) }), { maxLength: 8 })
  .map((all) => all.map(({ length, vector }, at) => [use(`w${at}`, length), use(`n${at}`, vector, false)]))
const cached = fc
  .array(fc.integer({ min: 1, max: 200_000 }), { maxLength: 6 })
  .map((lengths) => lengths.map((length, at) => [use(`e${at}`, length)]))
const onnx = fc.record({ segments, cached })
const sum = (uses: readonly (readonly WeightUse[])[]) => uses.flat().reduce((bytes, { length }) => bytes + length, 0)
const native = fc.record({
  uses: fc
    .array(fc.record({ rows: fc.integer({ min: 1, max: 2000 }), width: fc.integer({ min: 1, max: 500 }) }), { maxLength: 8 })
    .map((all) => all.map(({ rows, width }, at) => matrix(`t${at}`, rows, 4 * width))),
  vectorBytes: fc.nat(5000),
})

describe('one budget for two engines', () => {
  it('is never passed, is used by both from the minimum up, and the minimum is the smallest that does', () => {
    fc.assert(
      fc.property(onnx, native, fc.double({ min: 0, max: 1.2, noNaN: true }), (onnx, needs, share) => {
        const { minimum, total } = divideBudget(onnx, needs, EVERYTHING)
        const lengths = sum(onnx.segments) + sum(onnx.cached)
        expect(total).toBe(lengths + needs.vectorBytes + needs.uses.reduce((sum, { rows, rowBytes }) => sum + rows * rowBytes, 0))
        for (const budget of [minimum, Math.max(minimum, Math.floor(total * share)), total]) {
          const { residency, cache, tiles } = divideBudget(onnx, needs, () => budget)
          expect(residency.budget + cache.budget + tiles.budget).toBe(budget)
          for (const [{ length }] of onnx.cached as [WeightUse][]) expect(cache.budget).toBeGreaterThanOrEqual(length)
          if (cache.budget > cache.minimum) expect(residency.bytesPerPass + tiles.bytesPerPass).toBe(0)
          const native = tiles.pinnedBytes + tiles.slots * tiles.slotBytes
          expect(native).toBeLessThanOrEqual(tiles.budget)
          expect(residency.pinnedBytes + residency.window + cache.budget + native).toBeLessThanOrEqual(budget)
          expect(residency.pinnedBytes + residency.bytesPerPass + cache.total + tiles.pinnedBytes + tiles.bytesPerPass).toBe(total)
          if (budget >= total) expect([residency.bytesPerPass + tiles.bytesPerPass, cache.budget]).toEqual([0, cache.total])
        }
        if (minimum > 0)
          expect(() => divideBudget(onnx, needs, () => minimum - 1)).toThrow(
            expect.objectContaining({ code: 'BUDGET_TOO_SMALL', message: expect.stringContaining(`give at least ${minimum} bytes`) }),
          )
      }),
      { numRuns: 300 },
    )
  })

  it('lets ONNX Runtime hold all of its weights as soon as there is enough for that, and the rest goes to tiles', () => {
    const segments = [[use('a', 100_000)], [use('b', 100_000)], [use('c', 100_000)]]
    const needs = { uses: [matrix('t', 1000, 4096)], vectorBytes: 16 }
    const { minimum } = divideBudget({ segments, cached: [] }, needs, EVERYTHING)
    expect(minimum).toBe(200_000 + 16 + 3 * 4096)
    const enough = divideBudget({ segments, cached: [] }, needs, () => minimum + 100_000)
    expect([enough.residency.bytesPerPass, enough.tiles.budget]).toEqual([0, 16 + 3 * 4096])
    const more = divideBudget({ segments, cached: [] }, needs, () => minimum + 100_000 + 1_000_000)
    expect([more.residency.budget, more.tiles.budget]).toEqual([300_000, 1_000_000 + 16 + 3 * 4096])
    const less = divideBudget({ segments, cached: [] }, needs, () => minimum + 99_999)
    expect(less.residency.bytesPerPass).toBeGreaterThan(0)
    expect(less.residency.budget).toBe(200_000 + Math.floor((99_999 * 100_000) / (100_000 + 4_096_000 - 3 * 4096)))
  })

  it('is all for the engine that alone has weights', () => {
    const alone = divideBudget({ segments: [[use('a', 10)], [use('b', 20)]], cached: [] }, { uses: [], vectorBytes: 0 }, () => 1000)
    expect([alone.residency.budget, alone.tiles.budget, alone.total]).toEqual([1000, 0, 30])
    const tiles = divideBudget({ segments: [], cached: [] }, { uses: [matrix('t', 100, 4096)], vectorBytes: 8 }, () => 100_000)
    expect([tiles.residency.budget, tiles.tiles.budget]).toEqual([0, 100_000])
  })
})
