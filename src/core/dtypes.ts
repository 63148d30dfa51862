/** Element types of tensors, by their safetensors names, with bits per element. */
const BITS = {
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E4M3: 8,
  F8_E5M2: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  I64: 64,
  U64: 64,
  F64: 64,
} as const

/** A safetensors element type, such as `F32` or `BF16`. */
export type Dtype = keyof typeof BITS

/** True for a name that is an element type. */
export function isDtype(name: unknown): name is Dtype {
  return typeof name === 'string' && Object.hasOwn(BITS, name)
}

/** Bytes of one element. */
export function dtypeSize(dtype: Dtype): number {
  return BITS[dtype] / 8
}

/**
 * Bytes of a dense tensor, or undefined where the shape is not of non-negative safe integers or the product
 * passes 2^53 - 1 (a hostile header must not wrap around).
 */
export function tensorBytes(dtype: Dtype, shape: readonly number[]): number | undefined {
  let bytes = dtypeSize(dtype)
  let zero = false
  for (const dim of shape) {
    if (!Number.isSafeInteger(dim) || dim < 0) return undefined
    if (dim === 0) zero = true
    else if (bytes > Number.MAX_SAFE_INTEGER / dim) return undefined
    else bytes *= dim
  }
  return zero ? 0 : bytes
}
