import { halfOf, halfTable } from './half.js'

/** Weights of a row that share a scale. */
export const BLOCK = 32

// Adding and taking away 1.5 * 2^52 rounds a number to a whole one, ties to even; faster than Math.round and exact.
const ROUND = 6755399441055744
const LARGEST_HALF = 65504

/** The largest absolute value of a block; NaN where one of its numbers is not finite. */
function largest(x: Float32Array, at: number): number {
  let most = 0
  let sum = 0
  for (let i = at; i < at + BLOCK; i++) {
    const size = Math.abs(x[i]!)
    if (size > most) most = size
    sum += size
  }
  // a sum of finite float32 is finite, and a comparison alone would miss NaN
  return sum < Number.POSITIVE_INFINITY ? most : Number.NaN
}

/**
 * The scale of 32 weights that are stored as signed bytes, as the bits of an IEEE half: their largest maps to 127.
 * undefined where no scale can hold them: a number is not finite, or too large.
 */
export function scaleQ8(x: Float32Array, at: number): number | undefined {
  const most = largest(x, at)
  if (!(most <= LARGEST_HALF * 127)) return undefined
  let bits = halfOf(most / 127)
  // Halves near zero are coarse: one that is too small would cut the largest off.
  if (most > 127.5 * halfTable()[bits]!) bits += 1
  return bits
}

/** 32 weights as signed bytes over a scale, each the nearest there is; into 32 bytes. */
export function encodeQ8(x: Float32Array, at: number, scale: number, out: Uint8Array, to: number): void {
  const inverse = scale === 0 ? 0 : 1 / scale
  for (let i = 0; i < BLOCK; i++) {
    let q = x[at + i]! * inverse + ROUND - ROUND
    if (q > 127) q = 127
    if (q < -127) q = -127
    out[to + i] = q
  }
}

/** 32 weights as signed nibbles over a scale, each the nearest there is; two a byte, the low one first, into 16 bytes. */
export function encodeQ4(x: Float32Array, at: number, scale: number, out: Uint8Array, to: number): void {
  const inverse = scale === 0 ? 0 : 1 / scale
  for (let i = 0; i < BLOCK / 2; i++) {
    const low = nibble(x[at + 2 * i]! * inverse)
    const high = nibble(x[at + 2 * i + 1]! * inverse)
    out[to + i] = (low & 15) | ((high & 15) << 4)
  }
}

function nibble(value: number): number {
  let q = value + ROUND - ROUND
  if (q > 7) q = 7
  if (q < -8) q = -8
  return q
}

/** Steps that the largest weight is tried to be away from zero, beside the -8 of Q4_0. */
const REACHES = [7.2, 7.6, 8.4, 8.8] as const

/** What rounding a block to nibbles over one scale came to: the sums of x * q and of q * q. */
const fit = { products: 0, norm: 0 }

/**
 * The scale of 32 weights that are stored as signed nibbles, as the bits of an IEEE half, undefined where no scale can hold them.
 * The side of the largest weight gets the -8, so a scale may be negative. For a few scales around that the weights are rounded,
 * and the scale that then fits them best (least squares) is found; of all these the one of the smallest squared error is taken,
 * that of Q4_0 among them.
 */
export function scaleQ4(x: Float32Array, at: number): number | undefined {
  const most = largest(x, at)
  if (!(most <= LARGEST_HALF * 7)) return undefined
  if (most === 0) return 0
  let extreme = 0
  let squares = 0
  for (let i = at; i < at + BLOCK; i++) {
    const value = x[i]!
    squares += value * value
    if (extreme === 0 && Math.abs(value) === most) extreme = value
  }
  const scales = halfTable()
  let best = halfOf(extreme / -8)
  const plain = scales[best]!
  tryFit(x, at, plain === 0 ? 0 : 1 / plain)
  let least = squares + plain * (plain * fit.norm - 2 * fit.products)
  for (let reach = -1; reach < REACHES.length; reach++) {
    // the first is about what was rounded already
    if (reach >= 0) tryFit(x, at, -REACHES[reach]! / extreme)
    const bits = halfOf(fit.products / fit.norm)
    const scale = scales[bits]!
    const error = squares + scale * (scale * fit.norm - 2 * fit.products)
    if (error < least && Math.abs(scale) <= LARGEST_HALF) {
      least = error
      best = bits
    }
  }
  return best
}

function tryFit(x: Float32Array, at: number, inverse: number): void {
  let products = 0
  let norm = 0
  for (let i = at; i < at + BLOCK; i++) {
    const value = x[i]!
    const q = nibble(value * inverse)
    products += value * q
    norm += q * q
  }
  fit.products = products
  fit.norm = norm
}
