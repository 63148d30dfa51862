import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Resident } from '../../src/residency/residency.js'
import { WeightCache } from '../../src/residency/weight-cache.js'

/** A cache over weights called by their lengths (`a10` has 10 bytes), and what it did. */
function cacheOf(budget: number, fails: (name: string) => boolean = () => false) {
  const [loads, frees]: [string[], string[]] = [[], []]
  const inMemory = new Set<string>()
  const lengthOf = (name: string) => Number(name.slice(1))
  const bytes = () => [...inMemory].reduce((sum, name) => sum + lengthOf(name), 0)
  let most = 0
  const cache = new WeightCache(
    budget,
    lengthOf,
    async (name): Promise<Resident> => {
      loads.push(name)
      inMemory.add(name)
      most = Math.max(most, bytes())
      await new Promise((resolve) => setImmediate(resolve))
      if (!fails(name)) return { key: name, bytes: new Uint8Array(lengthOf(name)) }
      inMemory.delete(name)
      throw new Error(`no ${name}`)
    },
    ({ key }) => {
      frees.push(key)
      inMemory.delete(key)
    },
  )
  const use = async (name: string) => {
    await cache.lease(name)
    cache.release(name)
  }
  return { cache, loads, frees, inMemory, use, most: () => most }
}

describe('weights that only some passes need', () => {
  it('stay by their last use: the one that was not used for longest makes room', async () => {
    const { use, loads, frees } = cacheOf(30)
    for (const name of ['a10', 'b10', 'c10', 'a10', 'd10', 'a10', 'b10']) await use(name)
    expect(loads).toEqual(['a10', 'b10', 'c10', 'd10', 'b10'])
    expect(frees).toEqual(['b10', 'c10'])
  })

  it('that are expected are read at once and stay before others, as far as there is room', async () => {
    const { cache, use, loads, frees } = cacheOf(30)
    for (const name of ['a10', 'b10', 'c10']) await use(name)
    cache.expect(['a10', 'd10', 'e10', 'f10'])
    expect(loads.slice(3)).toEqual(['d10', 'e10'])
    expect(frees).toEqual(['b10', 'c10'])
    for (const name of ['a10', 'd10', 'e10', 'f10']) await use(name)
    expect(loads.slice(3)).toEqual(['d10', 'e10', 'f10'])
    expect(frees).toEqual(['b10', 'c10', 'a10'])
  })

  it('that are leased stay, and when nothing else could make room it is an error, not more memory', async () => {
    const { cache, use, frees } = cacheOf(30)
    await cache.lease('a20')
    await use('b10')
    await use('c10')
    expect(frees).toEqual(['b10'])
    await expect(cache.lease('d20')).rejects.toMatchObject({ code: 'ENGINE' })
    cache.release('a20')
    await use('d20')
    expect(frees).toEqual(['b10', 'c10', 'a20'])
  })

  it('whose read fails are an error for who leases them, and are read again', async () => {
    let broken = true
    const { cache, use, loads, inMemory } = cacheOf(30, () => broken)
    cache.expect(['a10'])
    await expect(use('a10')).rejects.toThrow('no a10')
    broken = false
    await use('a10')
    expect(loads).toEqual(['a10', 'a10'])
    await cache.close()
    expect(inMemory.size).toBe(0)
  })

  it('never take more than the budget, are all freed in the end, and are those that a simple list of last uses would have', async () => {
    const names = ['a10', 'b10', 'c10', 'd20', 'e20', 'f30']
    const step = fc.record({ name: fc.constantFrom(...names), expected: fc.uniqueArray(fc.constantFrom(...names), { maxLength: 3 }) })
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 30, max: 110 }), fc.boolean(), fc.array(step, { maxLength: 40 }), async (budget, ahead, steps) => {
        const { cache, use, loads, inMemory, most } = cacheOf(budget)
        let list: string[] = []
        let misses = 0
        for (const { name, expected } of steps) {
          if (ahead) cache.expect(expected)
          await use(name)
          if (ahead) continue
          if (!list.includes(name)) misses += 1
          list = [...list.filter((other) => other !== name), name]
          while (list.reduce((sum, other) => sum + Number(other.slice(1)), 0) > budget) list.shift()
          expect([...inMemory].sort()).toEqual([...list].sort())
        }
        if (!ahead) expect(loads).toHaveLength(misses)
        await cache.close()
        expect(inMemory.size).toBe(0)
        expect(most()).toBeLessThanOrEqual(budget)
      }),
    )
  })
})
