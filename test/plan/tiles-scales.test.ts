import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type MatrixUse, planTiles } from '../../src/plan/tiles.js'

const PAGE = 4096

/** Matrices of 4 or 8 bits with their scales before them, and of 16 without, one after the other in a fragment. */
const matrices = fc
  .array(fc.record({ rows: fc.integer({ min: 1, max: 3000 }), blocks: fc.integer({ min: 1, max: 70 }), bits: fc.constantFrom(4, 8, 16) }), {
    minLength: 1,
    maxLength: 12,
  })
  .map((all) => {
    let end = PAGE
    return all.map(({ rows, blocks, bits }, at): MatrixUse => {
      const [scale, weight] = [bits === 16 ? 0 : 2 * blocks, 4 * blocks * bits]
      const offset = end + rows * scale
      end = offset + rows * weight
      const run = { rowBytes: weight, offset }
      return { name: `w${at}`, rows, ...run, ...(scale > 0 && { scales: { rowBytes: scale, offset: offset - rows * scale } }) }
    })
  })

describe('the plan of tiles with scales', () => {
  it('keeps within any budget from the minimum up, and counts weights and scales to the byte', () => {
    fc.assert(
      fc.property(matrices, fc.nat(100_000), fc.double({ min: 0, max: 1.1, noNaN: true }), (uses, vectors, share) => {
        const { minimum, total } = planTiles(uses, vectors, Number.MAX_SAFE_INTEGER)
        const bytes = (use: MatrixUse) => use.rowBytes + (use.scales?.rowBytes ?? 0)
        expect(total).toBe(vectors + uses.reduce((sum, use) => sum + use.rows * bytes(use), 0))
        const plan = planTiles(uses, vectors, Math.max(minimum, Math.floor(total * share)))
        expect(plan.pinnedBytes + plan.slots * plan.slotBytes).toBeLessThanOrEqual(plan.budget)
        expect(plan.pinnedBytes + plan.bytesPerPass).toBe(total)
        for (const use of uses) {
          let first = 0
          for (const { rows, pinned } of plan.tiles.get(use.name)!) {
            // what the stream will ask for: whole pages of the weights, and of the scales
            const pages = [use, ...(use.scales && !plan.scalesPinned ? [use.scales] : [])].map(({ offset, rowBytes }) => {
              const [start, end] = [offset + first * rowBytes, offset + (first + rows) * rowBytes]
              return (Math.ceil(end / PAGE) - Math.floor(start / PAGE)) * PAGE
            })
            if (!pinned) expect(pages.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(plan.slotBytes)
            first += rows
          }
          expect(first).toBe(use.rows)
        }
        const scales = uses.reduce((sum, use) => sum + use.rows * (use.scales?.rowBytes ?? 0), 0)
        const pinned = uses.reduce((sum, use) => {
          const row = plan.scalesPinned ? use.rowBytes : bytes(use)
          return sum + plan.tiles.get(use.name)!.reduce((rows, tile) => rows + (tile.pinned ? tile.rows : 0), 0) * row
        }, 0)
        expect(plan.pinnedBytes).toBe(vectors + pinned + (plan.scalesPinned ? scales : 0))
      }),
      { numRuns: 60 },
    )
  })

  it('keeps scales in memory where they leave room to stream the weights, and streams them with their weights below', () => {
    const use: MatrixUse = { name: 'w', rows: 8192, rowBytes: 2048, offset: 8192 * 128, scales: { rowBytes: 128, offset: 0 } }
    const [scales, weights] = [use.rows * 128, use.rows * 2048]
    for (const budget of [0.7, 0.3, 0.1].map((share) => Math.floor(share * weights))) {
      const plan = planTiles([use], 0, budget)
      expect(plan.scalesPinned).toBe(true)
      expect(plan.bytesPerPass).toBe(weights - (plan.pinnedBytes - scales))
    }
    const small = planTiles([use], 0, Math.floor(scales * 1.1))
    expect(small.scalesPinned).toBe(false)
    expect(small.bytesPerPass).toBe(weights + scales - small.pinnedBytes)
    expect(planTiles([use], 0, weights + scales).scalesPinned).toBe(false)
  })
})
