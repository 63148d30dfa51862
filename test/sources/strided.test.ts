import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LARGEST_WINDOW, type Strided, scatter, stridedOf, stridedPart, windowsOf } from '../../src/sources/strided.js'

/** Bytes `from` to `from + length` of a view, by its windows alone; each byte must be given once. */
function gathered(file: Uint8Array, offset: number, strided: Strided | undefined, from: number, length: number) {
  const target = new Uint8Array(length)
  let reads = 0
  for (const window of windowsOf(offset, strided, from, length)) {
    reads += 1
    expect(window.position).toBeGreaterThanOrEqual(0)
    expect(window.position + window.length).toBeLessThanOrEqual(file.byteLength)
    if (window.dimensions.length > 0) expect(window.length).toBeLessThanOrEqual(LARGEST_WINDOW)
    scatter(window, file.subarray(window.position, window.position + window.length), target)
  }
  return { target, reads }
}

/** The oracle: one element after the other. */
function dense(file: Uint8Array, offset: number, shape: readonly number[], strides: readonly number[], size: number): Uint8Array {
  const elements: Uint8Array[] = []
  const visit = (depth: number, at: number): void => {
    if (depth === shape.length) elements.push(file.subarray(at, at + size))
    else for (let i = 0; i < shape[depth]!; i++) visit(depth + 1, at + i * strides[depth]! * size)
  }
  visit(0, offset)
  return Buffer.concat(elements)
}

const view = fc
  .array(fc.tuple(fc.nat(5), fc.oneof(fc.nat(12), fc.constantFrom(0, 1, 700, 1400))), { maxLength: 4 })
  .map((dimensions) => ({ shape: dimensions.map(([count]) => count), strides: dimensions.map(([, stride]) => stride) }))

describe('views with strides', () => {
  const file = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7 + (i >> 8)) & 255)

  it('any range of any view has the bytes of its elements in order', () => {
    fc.assert(
      fc.property(view, fc.constantFrom(1, 2, 4, 8), fc.nat(64), fc.nat(), fc.nat(), ({ shape, strides }, size, offset, a, b) => {
        const whole = dense(file, offset, shape, strides, size)
        const from = a % (whole.byteLength + 1)
        const length = b % (whole.byteLength - from + 1)
        const { target } = gathered(file, offset, stridedOf(shape, strides, size), from, length)
        expect(Buffer.compare(target, whole.subarray(from, from + length))).toBe(0)
      }),
      { numRuns: 2000 },
    )
  })

  it('whole rows of a view, of any dimension, are a view of their own', () => {
    fc.assert(
      fc.property(
        view,
        fc.constantFrom(1, 2, 4),
        fc.nat(64),
        fc.nat(4),
        fc.nat(),
        fc.nat(),
        ({ shape, strides }, size, offset, axis, a, b) => {
          const whole = dense(file, offset, shape, strides, size)
          const unit = shape.slice(axis).reduce((product, count) => product * count, size)
          fc.pre(whole.byteLength > 0)
          // rows of the dimension before `axis`, within one row of the dimension before that
          const count = shape[axis - 1] ?? 1
          const [first, rows] = [a % count, 1 + (b % (count - (a % count)))]
          const outer = whole.byteLength / (unit * count)
          const from = (b % outer) * unit * count + first * unit
          const part = stridedPart(offset, stridedOf(shape, strides, size), from, rows * unit)
          const { target } = gathered(file, part.offset, part.strided, 0, rows * unit)
          expect(Buffer.compare(target, whole.subarray(from, from + rows * unit))).toBe(0)
        },
      ),
      { numRuns: 1000 },
    )
  })

  it.each([
    ['a whole tensor', [4, 6], [6, 1]],
    ['rows of one', [2, 6], [6, 1]],
    ['a dimension of one with an odd stride', [1, 6], [99, 1]],
    ['one element', [1, 1], [7, 3]],
    ['no elements', [0, 4], [1, 1]],
    ['a number', [], []],
  ])('%s is a single range', (_, shape, strides) => {
    expect(stridedOf(shape, strides, 4)).toBeUndefined()
  })

  it('what can be read together is: few reads for columns, and none twice for what repeats', () => {
    expect(stridedOf([2, 3], [6, 1], 4)).toEqual({ unit: 12, counts: [2], steps: [24] })
    expect(stridedOf([2, 3, 4], [100, 4, 1], 4)).toEqual({ unit: 48, counts: [2], steps: [400] })
    const transposed = stridedOf([100, 200], [1, 100], 4)
    expect(gathered(file, 0, transposed, 0, 80_000).reads).toBe(1)
    expect(gathered(file, 0, stridedOf([50, 1000], [0, 1], 4), 0, 200_000).reads).toBe(1)
    // 16 KiB apart: each is read by itself, a few columns of it at a time
    expect(gathered(file, 0, stridedOf([8, 10], [1, 4096], 4), 0, 320).reads).toBe(10)
  })

  it('a window stays small however large the view', () => {
    const large = { unit: 4, counts: [3_000_000], steps: [40] }
    const windows = [...windowsOf(0, large, 0, 12_000_000)]
    expect(windows).toHaveLength(Math.ceil(3_000_000 / (Math.floor((LARGEST_WINDOW - 4) / 40) + 1)))
    expect(Math.max(...windows.map(({ length }) => length))).toBeLessThanOrEqual(LARGEST_WINDOW)
    expect(windows.at(-1)!.position + windows.at(-1)!.length).toBe(2_999_999 * 40 + 4)
  })
})
