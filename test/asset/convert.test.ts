import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BLOCK, encodeQ4, encodeQ8, scaleQ4, scaleQ8 } from '../../src/asset/convert/blocks.js'
import { type ConvertedPart, convertInto } from '../../src/asset/convert/conversion.js'
import { fromF16, halfOf, toBf16, toF16 } from '../../src/asset/convert/half.js'
import { AssetError } from '../../src/core/errors.js'

const floatOf = (bits: number) => new Float32Array(Uint32Array.of(bits).buffer)[0]!
const bitsOf = (value: number) => new Uint32Array(Float32Array.of(value).buffer)[0]!

/** The nearest of all values, ties to the even one: what no arithmetic on bits can get wrong. */
function nearest(value: number, low: number, high: number, decode: (bits: number) => number): number {
  const [below, above] = [Math.abs(value - decode(low)), Math.abs(value - decode(high))]
  return below < above || (below === above && low % 2 === 0) ? low : high
}

const anyBits = fc.integer({ min: 0, max: 0xffffffff })
const sized = fc
  .tuple(fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: BLOCK, maxLength: BLOCK }), fc.integer({ min: -30, max: 15 }))
  .map(([values, exponent]) => Float32Array.from(values, (value) => value * 2 ** exponent))

describe('floats of 16 bits', () => {
  it('bfloat16: the nearest, ties to even', () => {
    fc.assert(
      fc.property(anyBits, (bits) => {
        const value = floatOf(bits)
        if (Number.isNaN(value)) {
          expect(floatOf(toBf16(bits) << 16)).toBeNaN()
          return
        }
        const low = bits >>> 16
        const decode = (half: number) => floatOf((half << 16) >>> 0)
        if ((low & 0x7fff) < 0x7f7f) expect(toBf16(bits)).toBe(nearest(value, low, low + 1, decode))
        expect(toBf16((low << 16) >>> 0)).toBe(low)
      }),
      { numRuns: 20_000 },
    )
  })

  it('IEEE half: every half is itself, and what is between two is the nearest, ties to even', () => {
    for (let half = 0; half < 0x7c00; half++) {
      expect(toF16(bitsOf(fromF16(half)))).toBe(half)
      expect(toF16(bitsOf(fromF16(half | 0x8000)))).toBe(half | 0x8000)
      if (half === 0x7bff) continue
      const middle = (fromF16(half) + fromF16(half + 1)) / 2
      expect(toF16(bitsOf(middle))).toBe(half % 2 === 0 ? half : half + 1)
      expect(toF16(bitsOf(middle) - 1)).toBe(half)
      expect(toF16(bitsOf(middle) + 1)).toBe(half + 1)
    }
    expect([65504, 65519.99, 65520, 1e30, Number.POSITIVE_INFINITY].map((value) => toF16(bitsOf(value)))).toEqual([
      0x7bff, 0x7bff, 0x7c00, 0x7c00, 0x7c00,
    ])
    expect(fromF16(toF16(bitsOf(Number.NaN)))).toBeNaN()
  })
})

describe('blocks of 32 with a scale', () => {
  it('8 bits: each weight is off by half a step at most, and no byte is nearer', () => {
    fc.assert(
      fc.property(sized, (x) => {
        const scale = fromF16(scaleQ8(x, 0)!)
        const out = new Uint8Array(BLOCK)
        encodeQ8(x, 0, scale, out, 0)
        const q = new Int8Array(out.buffer)
        const most = x.reduce((size, value) => Math.max(size, Math.abs(value)), 0)
        if (most > 2 ** -14 * 127) expect(scale).toBeLessThanOrEqual((most / 127) * (1 + 2 ** -10))
        for (const [i, value] of x.entries()) expect(Math.abs(value - q[i]! * scale)).toBeLessThanOrEqual((scale / 2) * (1 + 1e-9))
      }),
      { numRuns: 3000 },
    )
  })

  it('4 bits: each weight gets the nearest step, and the squared error is never above that of Q4_0', () => {
    const error = (x: Float32Array, scale: number) =>
      x.reduce((sum, value) => {
        const steps = Array.from({ length: 16 }, (_, at) => (value - (at - 8) * scale) ** 2)
        return sum + Math.min(...steps)
      }, 0)
    fc.assert(
      fc.property(sized, (x) => {
        const scale = fromF16(scaleQ4(x, 0)!)
        const out = new Uint8Array(BLOCK / 2)
        encodeQ4(x, 0, scale, out, 0)
        let found = 0
        for (const [i, value] of x.entries()) {
          const nibble = (out[i >> 1]! >> (4 * (i % 2))) & 15
          found += (value - (nibble > 7 ? nibble - 16 : nibble) * scale) ** 2
        }
        const extreme = x.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0)
        expect(found).toBeLessThanOrEqual(error(x, scale) * (1 + 1e-9))
        expect(found).toBeLessThanOrEqual(error(x, fromF16(halfOf(extreme / -8))) + extreme ** 2 * 1e-12)
      }),
      { numRuns: 3000 },
    )
  })

  it('zeros stay zeros, and what no scale can hold is refused', () => {
    const zeros = new Float32Array(BLOCK)
    expect([scaleQ8(zeros, 0), scaleQ4(zeros, 0)]).toEqual([0, 0])
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, -1e9]) {
      const x = zeros.map((_, at) => (at === 31 ? bad : at))
      expect([scaleQ8(x, 0), scaleQ4(x, 0)]).toEqual([undefined, undefined])
    }
  })
})

describe('converting ranges of a tensor', () => {
  const file = { path: 'w.safetensors', size: 0, mtimeMs: 0, ino: 0 }
  const values = Float32Array.from({ length: 70_016 }, (_, at) => Math.sin(at * 12.9898) * 3)
  const bytes = new Uint8Array(values.buffer)
  const read = (target: Uint8Array, from: number) => target.set(bytes.subarray(from, from + target.byteLength))
  const part = (to: ConvertedPart['to'], length: number): ConvertedPart => ({
    source: { file, offset: 64 },
    tensor: 'w',
    from: 'F32',
    to,
    skip: 0,
    length,
  })

  it.each([
    ['BF16', 2],
    ['F16', 2],
    ['Q8', 1],
    ['Q4', 0.5],
    ['Q8_SCALE', 2 / 32],
    ['Q4_SCALE', 2 / 32],
  ] as const)('%s: the same bytes whatever the ranges', (to, size) => {
    const whole = new Uint8Array(values.length * size)
    convertInto(part(to, whole.byteLength), 0, whole, read)
    fc.assert(
      fc.property(fc.nat(whole.byteLength - 1), fc.nat(5000), fc.nat(100), (skip, length, done) => {
        const end = Math.min(whole.byteLength, skip + done + length)
        const some = new Uint8Array(Math.max(0, end - skip - done))
        convertInto({ ...part(to, end - skip), skip }, done, some, read)
        expect(Buffer.compare(some, whole.subarray(skip + done, end))).toBe(0)
      }),
      { numRuns: 60 },
    )
  })

  it('refuses a number that the result has no room for, naming the tensor', () => {
    const large = new Uint8Array(Float32Array.from({ length: 32 }, () => 70_000).buffer)
    const convert = (to: ConvertedPart['to'], source = large) =>
      convertInto(part(to, 64), 0, new Uint8Array(to === 'Q8_SCALE' ? 2 : 64), (target) =>
        target.set(source.subarray(0, target.byteLength)),
      )
    expect(() => convert('F16')).toThrow(
      new AssetError(
        'BAD_INPUT',
        'Cannot convert tensor w of w.safetensors: it holds a number that is too large for F16; use the dtype bf16 or keep',
      ),
    )
    expect(() => convert('Q8_SCALE', new Uint8Array(128).fill(0xff))).toThrow(
      /not finite, or too large for a scale of 16 bits; use the dtype keep/,
    )
    convert('BF16')
  })
})
