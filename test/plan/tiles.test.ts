import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PAGE } from '../../src/core/limits.js'
import { type MatrixUse, planTiles, type TilePlan } from '../../src/plan/tiles.js'

const matrix = (name: string, rows: number, rowBytes: number, offset = 0): MatrixUse => ({ name, rows, rowBytes, offset })
const bytesOf = ({ rows, rowBytes }: MatrixUse) => rows * rowBytes
const once = (uses: readonly MatrixUse[]) => [...new Map(uses.map((use) => [use.name, use])).values()]

const anyUses = fc
  .array(fc.record({ rows: fc.integer({ min: 1, max: 4000 }), width: fc.integer({ min: 1, max: 6000 }), offset: fc.nat(5000) }), {
    minLength: 1,
    maxLength: 8,
  })
  .chain((shapes) => {
    const matrices = shapes.map(({ rows, width, offset }, at) => matrix(`w${at}`, rows, 2 * width, 4 * offset))
    return fc.array(fc.constantFrom(...matrices), { minLength: 1, maxLength: 10 })
  })

/** Pages that a run of rows lies on, in bytes. */
function pages({ offset, rowBytes }: MatrixUse, from: number, rows: number): number {
  return Math.ceil((offset + (from + rows) * rowBytes) / PAGE) * PAGE - Math.floor((offset + from * rowBytes) / PAGE) * PAGE
}

/** Every promise of a plan. */
function expectKept(plan: TilePlan, uses: readonly MatrixUse[], vectorBytes: number): void {
  expect(plan.pinnedBytes + plan.slots * plan.slotBytes).toBeLessThanOrEqual(plan.budget)
  let pinnedBytes = vectorBytes
  let [before, largest, worst] = [0, 0, 0]
  const total = once(uses).reduce((sum, use) => sum + bytesOf(use), 0)
  const share = (plan.budget - vectorBytes - plan.slots * plan.slotBytes) / total
  for (const use of once(uses)) {
    let row = 0
    for (const { rows, pinned } of plan.tiles.get(use.name)!) {
      if (!(rows >= 1)) throw new Error(`a tile of ${rows} rows`)
      if (!pinned && pages(use, row, rows) > plan.slotBytes) throw new Error(`a tile at row ${row} of ${use.name} needs more than a slot`)
      row += rows
      const bytes = rows * use.rowBytes
      largest = Math.max(largest, bytes)
      before += bytes
      if (pinned) pinnedBytes += bytes
      worst = Math.max(worst, Math.abs(pinnedBytes - vectorBytes - share * before))
    }
    expect(row).toBe(use.rows)
  }
  expect(plan.pinnedBytes).toBe(pinnedBytes)
  const pinnedOf = (use: MatrixUse) =>
    plan.tiles.get(use.name)!.reduce((sum, { rows, pinned }) => sum + (pinned ? rows * use.rowBytes : 0), 0)
  expect(plan.bytesPerPass).toBe(uses.reduce((sum, use) => sum + bytesOf(use) - pinnedOf(use), 0))
  // Wherever a pass is, as much is pinned of what it has used as of the whole, give or take a tile.
  if (plan.slots > 0) expect(worst).toBeLessThanOrEqual(largest)
}

describe('the plan of tiles', () => {
  it('keeps every promise for any matrices and any budget from the minimum up, which is the smallest that does', () => {
    fc.assert(
      fc.property(anyUses, fc.nat(100_000), fc.double({ min: 0, max: 1.1, noNaN: true }), (uses, vectorBytes, share) => {
        const { minimum, total } = planTiles(uses, vectorBytes, Number.MAX_SAFE_INTEGER)
        for (const budget of [minimum, Math.floor(minimum + share * (total - minimum)), total - 1, total])
          if (budget >= minimum) expectKept(planTiles(uses, vectorBytes, budget), uses, vectorBytes)
        expect(() => planTiles(uses, vectorBytes, minimum - 1)).toThrow(
          expect.objectContaining({ code: 'BUDGET_TOO_SMALL', message: expect.stringContaining(`give at least ${minimum} bytes`) }),
        )
      }),
      { numRuns: 150 },
    )
  })

  it('pins everything where it fits', () => {
    const plan = planTiles([matrix('a', 1000, 4096), matrix('b', 10, 2), matrix('a', 1000, 4096)], 7, 5_000_000)
    expect(plan).toMatchObject({ total: 4_096_027, pinnedBytes: 4_096_027, bytesPerPass: 0, slots: 0, slotBytes: 0, minimum: 7 + 3 * 4096 })
    expect([...plan.tiles.values()].flat().every(({ pinned }) => pinned)).toBe(true)
  })

  it('cuts on page boundaries where rows allow that, so that no page is read for two tiles', () => {
    const plan = planTiles([matrix('a', 4000, 1536, 8192)], 0, 3_000_000)
    const tiles = plan.tiles.get('a')!
    for (const { rows } of tiles.slice(0, -1)) expect((rows * 1536) % PAGE).toBe(0)
    expect(plan.slotBytes).toBe(tiles[0]!.rows * 1536)
  })

  it('counts a matrix that is used twice in a pass twice among what is read, once among what is held', () => {
    const [a, b] = [matrix('a', 100, 4096), matrix('b', 100, 4096)]
    const [two, three] = [planTiles([a, b], 0, 400_000), planTiles([a, b, a], 0, 400_000)]
    expect(three.pinnedBytes).toBe(two.pinnedBytes)
    const streamed = three.tiles.get('a')!.reduce((sum, { rows, pinned }) => sum + (pinned ? 0 : rows * 4096), 0)
    expect(three.bytesPerPass).toBe(two.bytesPerPass + streamed)
  })

  it('plans fifty thousand matrices, and refuses weights that no file holds before it makes a tile', () => {
    const many = Array.from({ length: 50_000 }, (_, at) => matrix(`w${at}`, 3, 2002, at * 6006))
    const { total } = planTiles(many, 0, Number.MAX_SAFE_INTEGER)
    const plan = planTiles(many, 0, Math.floor(total * 0.6))
    expect(plan.bytesPerPass + plan.pinnedBytes).toBe(total)
    for (const [rows, rowBytes] of [
      [2 ** 50, 2],
      [2 ** 42, 1],
    ] as const)
      expect(() => planTiles([matrix('huge', rows, rowBytes)], 0, 2 ** 30)).toThrow(expect.objectContaining({ code: 'LIMIT' }))
  })
})
