import { fromF16, halfOf } from './half.js'

/** Weights of a row that share a scale. */
export const BLOCK = 32

// Adding and taking away 1.5 * 2^52 rounds a number to a whole one, ties to even; faster than Math.round and exact.
const ROUND = 6755399441055744
const LARGEST_HALF = 65504

/** The largest absolute value of a block; NaN where one of its numbers is. */
function largest(x: Float32Array, at: number): number {
  let most = 0
  for (let i = at; i < at + BLOCK; i++) most = Math.max(most, Math.abs(x[i]!))
  return most
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
  if (most > 127.5 * fromF16(bits)) bits += 1
  return bits
}

/** 32 weights as signed bytes over a scale, each the nearest there is; into 32 bytes. */
export function encodeQ8(x: Float32Array, at: number, scale: number, out: Uint8Array, to: number): void {
  const inverse = scale === 0 ? 0 : 1 / scale
  for (let i = 0; i < BLOCK; i++) {
    out[to + i] = Math.max(-127, Math.min(127, x[at + i]! * inverse + ROUND - ROUND))
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
  return Math.max(-8, Math.min(7, value + ROUND - ROUND))
}

/** Steps that the largest weight is tried to be away from zero: -8 alone is the choice of Q4_0. */
const REACHES = [7.2, 7.6, 8, 8.4, 8.8] as const

/**
 * The scale of 32 weights that are stored as signed nibbles, as the bits of an IEEE half, undefined where no scale can hold them.
 * The side of the largest weight gets the -8, so that a scale may be negative. For a few scales around that the weights are
 * rounded and the scale that then fits them best (least squares) is found; of all these the one of the smallest squared error
 * is taken, never a worse one than that of Q4_0.
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
  const plain = halfOf(extreme / -8)
  let best = plain
  let least = Number.POSITIVE_INFINITY
  for (const reach of REACHES) {
    const inverse = -reach / extreme
    let products = 0
    let norm = 0
    for (let i = at; i < at + BLOCK; i++) {
      const value = x[i]!
      const q = nibble(value * inverse)
      products += value * q
      norm += q * q
    }
    const bits = halfOf(products / norm)
    const scale = fromF16(bits)
    const error = squares - 2 * scale * products + scale * scale * norm
    if (error < least && (bits & 0x7fff) < 0x7c00) {
      least = error
      best = bits
    }
  }
  return errorQ4(x, at, fromF16(best)) <= errorQ4(x, at, fromF16(plain)) ? best : plain
}

/** The squared error of a block as nibbles over a scale. */
function errorQ4(x: Float32Array, at: number, scale: number): number {
  const inverse = scale === 0 ? 0 : 1 / scale
  let error = 0
  for (let i = at; i < at + BLOCK; i++) {
    const off = x[i]! - nibble(x[i]! * inverse) * scale
    error += off * off
  }
  return error
}
