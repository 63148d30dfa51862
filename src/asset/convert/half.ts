// 16-bit floats out of the bits of a float32, by whole-number arithmetic alone: the same on every machine.

/** The bfloat16 nearest to a float32, ties to even, as bits; NaN stays one. A number beyond the largest becomes infinity. */
export function toBf16(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16
}

/** The IEEE half nearest to a float32, ties to even, as bits; NaN stays one. A number beyond 65504 becomes infinity. */
export function toF16(bits: number): number {
  const sign = (bits >>> 16) & 0x8000
  const abs = bits & 0x7fffffff
  if (abs > 0x7f800000) return sign | 0x7e00
  if (abs >= 0x47800000) return sign | 0x7c00
  if (abs >= 0x38800000) {
    const rest = abs - 0x38000000
    return sign | ((rest + 0xfff + ((rest >>> 13) & 1)) >>> 13)
  }
  if (abs < 0x33000000) return sign
  // below 2^-14 a half counts units of 2^-24
  const shift = 126 - (abs >>> 23)
  const mantissa = (abs & 0x7fffff) | 0x800000
  const units = mantissa >>> shift
  const rest = mantissa & ((1 << shift) - 1)
  const half = 1 << (shift - 1)
  return sign | (units + (rest > half || (rest === half && (units & 1) === 1) ? 1 : 0))
}

/** The number that the bits of an IEEE half stand for. */
export function fromF16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >>> 10) & 31
  const mantissa = bits & 0x3ff
  if (exponent === 31) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1024 + mantissa) * 2 ** (exponent - 25)
}

const cell = new Float32Array(1)
const cellBits = new Uint32Array(cell.buffer)

/** The bits of the IEEE half nearest to a number, which is first taken as a float32. */
export function halfOf(value: number): number {
  cell[0] = value
  return toF16(cellBits[0]!)
}

let halves: Float32Array | undefined

/** All IEEE halves by their bits. */
export function halfTable(): Float32Array {
  halves ??= Float32Array.from({ length: 65536 }, (_, bits) => fromF16(bits))
  return halves
}
