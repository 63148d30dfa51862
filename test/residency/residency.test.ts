import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Residency, type Resident } from '../../src/residency/residency.js'

const fill = (value: number) => async (target: Uint8Array) => {
  target.fill(value)
}

describe('weights in memory', () => {
  it('are read once for all who hold them, and freed with the last', async () => {
    const residency = new Residency()
    residency.addBudget(100)
    let reads = 0
    const read = async (target: Uint8Array) => {
      reads += 1
      target.fill(7)
    }
    const [a, b] = await Promise.all([residency.hold('x', 40, read), residency.hold('x', 40, read)])
    expect(reads).toBe(1)
    expect(a.bytes).toBe(b.bytes)
    residency.letGo(a)
    expect(residency.has('x')).toBe(true)
    residency.letGo(b)
    expect(residency.has('x')).toBe(false)
    expect(residency.bytes).toBe(0)
  })

  it('a read that failed leaves nothing, and is tried again', async () => {
    const residency = new Residency()
    residency.addBudget(100)
    await expect(residency.hold('x', 40, () => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect(residency.bytes).toBe(0)
    const again = await residency.hold('x', 40, fill(3))
    expect([...new Set(again.bytes)]).toEqual([3])
  })

  it('with the buffers kept for use again never take more than the budgets, in any order of holding and letting go', async () => {
    const step = fc.record({ hold: fc.boolean(), size: fc.constantFrom(10, 20, 30, 50), pick: fc.nat() })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const residency = new Residency()
        const budget = 120
        residency.addBudget(budget)
        const held: Resident[] = []
        for (const [at, { hold, size, pick }] of steps.entries()) {
          // as the plan does, nothing is asked for that would not fit
          if (hold && residency.bytes + size <= budget) held.push(await residency.hold(`w${at}`, size, fill(at)))
          else if (held.length > 0) residency.letGo(held.splice(pick % held.length, 1)[0]!)
          expect(residency.bufferBytes).toBeLessThanOrEqual(budget)
          expect(residency.bytes).toBe(held.reduce((sum, { bytes }) => sum + bytes.byteLength, 0))
        }
        for (const resident of held) residency.letGo(resident)
        residency.addBudget(-budget)
        expect(residency.bufferBytes).toBe(0)
      }),
    )
  })
})
