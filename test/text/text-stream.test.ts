import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { makeSampler } from '../../src/text/sampling.js'
import { StopTexts } from '../../src/text/text-stream.js'

describe('stop texts', () => {
  it('cut the text where the first of them begins, however it is split', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 4 }), { maxLength: 8 }),
        fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 3 }), { maxLength: 3 }),
        (pieces, stops) => {
          const stopper = new StopTexts(stops)
          let text = ''
          for (const piece of pieces) if (!stopper.stopped) text += stopper.push(piece)
          text += stopper.end()
          expect(stops.some((stop) => text.includes(stop))).toBe(false)
          expect(pieces.join('').startsWith(text)).toBe(true)
          if (!stopper.stopped) expect(text).toBe(pieces.join(''))
        },
      ),
    )
  })
})

describe('sampling', () => {
  it('draws only from the top k, and about as often as their probability', () => {
    const sampler = makeSampler({ temperature: 1, topK: 2, seed: 1 })
    const logits = Float32Array.from([Math.log(3), Math.log(1), Math.log(0.9), -5])
    const counts = [0, 0, 0, 0]
    for (let i = 0; i < 4000; i++) counts[sampler(logits)]! += 1
    expect(counts[2]! + counts[3]!).toBe(0)
    expect(counts[0]! / 4000).toBeGreaterThan(0.7)
    expect(counts[0]! / 4000).toBeLessThan(0.8)
  })

  it('keeps the smallest set that holds top p', () => {
    const sampler = makeSampler({ temperature: 1, topP: 0.5, seed: 3 })
    for (let i = 0; i < 100; i++) expect(sampler(Float32Array.from([Math.log(6), Math.log(3), Math.log(1)]))).toBe(0)
  })

  it('refuses logits that are not numbers', () => {
    expect(() => makeSampler({})(new Float32Array(4).fill(Number.NaN))).toThrow(/not numbers/)
  })
})
