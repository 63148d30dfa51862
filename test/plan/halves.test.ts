import fc from 'fast-check'
import { expect, it } from 'vitest'
import { shareBudget } from '../../src/plan/halves.js'

const bounds = fc.tuple(fc.nat(1000), fc.nat(1000)).map(([minimum, more]) => ({ minimum, total: minimum + more }))

it('gives both halves what they need and the decoder what it can use, to the byte', () => {
  fc.assert(
    fc.property(bounds, bounds, fc.nat(5000), (encoder, decoder, budget) => {
      const minimum = encoder.minimum + decoder.minimum
      if (budget < minimum) {
        expect(() => shareBudget(encoder, decoder, () => budget)).toThrow(`give at least ${minimum} bytes`)
        return
      }
      const shares = shareBudget(encoder, decoder, (total) => {
        expect(total).toBe(encoder.total + decoder.total)
        return budget
      })
      expect(shares.encoder + shares.decoder).toBe(budget)
      expect(shares.encoder).toBeGreaterThanOrEqual(encoder.minimum)
      expect(shares.decoder).toBe(Math.min(decoder.total, budget - encoder.minimum))
    }),
  )
})
