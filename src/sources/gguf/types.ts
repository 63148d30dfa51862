import type { Dtype } from '../../core/dtypes.js'

/** Weights of few bits as ggml packs them: so many elements of a row in so many bytes. Names are ggml's. */
export const PACKED = {
  Q4_0: { elements: 32, bytes: 18 },
  Q4_1: { elements: 32, bytes: 20 },
  Q5_0: { elements: 32, bytes: 22 },
  Q5_1: { elements: 32, bytes: 24 },
  Q8_0: { elements: 32, bytes: 34 },
  Q2_K: { elements: 256, bytes: 84 },
  Q3_K: { elements: 256, bytes: 110 },
  Q4_K: { elements: 256, bytes: 144 },
  Q5_K: { elements: 256, bytes: 176 },
  Q6_K: { elements: 256, bytes: 210 },
} as const

/** A way of packing weights that is known. */
export type PackedType = keyof typeof PACKED

/** True for the name of a way of packing. */
export function isPacked(type: string): type is PackedType {
  return Object.hasOwn(PACKED, type)
}

const DENSE: ReadonlyMap<number, Dtype> = new Map([
  [0, 'F32'],
  [1, 'F16'],
  [24, 'I8'],
  [25, 'I16'],
  [26, 'I32'],
  [27, 'I64'],
  [28, 'F64'],
  [30, 'BF16'],
])

const BY_NUMBER: ReadonlyMap<number, PackedType> = new Map([
  [2, 'Q4_0'],
  [3, 'Q4_1'],
  [6, 'Q5_0'],
  [7, 'Q5_1'],
  [8, 'Q8_0'],
  [10, 'Q2_K'],
  [11, 'Q3_K'],
  [12, 'Q4_K'],
  [13, 'Q5_K'],
  [14, 'Q6_K'],
])

/** Types that are not read, by name, so that a refusal can say which. */
const UNREAD: ReadonlyMap<number, string> = new Map([
  [9, 'Q8_1'],
  [15, 'Q8_K'],
  [16, 'IQ2_XXS'],
  [17, 'IQ2_XS'],
  [18, 'IQ3_XXS'],
  [19, 'IQ1_S'],
  [20, 'IQ4_NL'],
  [21, 'IQ3_S'],
  [22, 'IQ2_S'],
  [23, 'IQ4_XS'],
  [29, 'IQ1_M'],
  [34, 'TQ1_0'],
  [35, 'TQ2_0'],
  [39, 'MXFP4'],
])

/** What the number of a tensor's type means; undefined for one that is not read. */
export function typeOf(number: number): Dtype | PackedType | undefined {
  return DENSE.get(number) ?? BY_NUMBER.get(number)
}

/** What ggml calls a type that is not read. */
export function nameOfType(number: number): string {
  return UNREAD.get(number) ?? `number ${number}`
}
