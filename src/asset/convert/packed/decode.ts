import { PACKED, type PackedType } from '../../../sources/gguf/types.js'
import { halfTable } from '../half.js'
import { LAYOUTS } from './layouts.js'

const numbers = new Uint8Array(256)
const scales = new Int16Array(16)
const mins = new Int16Array(16)

/**
 * Packed weights in `raw` -> the float32 that they stand for, bit for bit as ggml makes them: every product of a scale of 16
 * bits and whole numbers is exact in float32, so but for the sum with a minimum nothing is rounded, and the order of the
 * products does not matter.
 */
export function decodePacked(type: PackedType, raw: Uint8Array, count: number, floats: Float32Array): void {
  const { elements, bytes } = PACKED[type]
  const { low, offset, block, scale, min, numbers: read, blocks } = LAYOUTS[type]
  const table = halfTable()
  const half = (at: number) => table[raw[at]! | (raw[at + 1]! << 8)]!
  for (let first = 0, at = 0; first < count; first += elements, at += bytes) {
    read(raw, at, numbers)
    blocks?.read(raw, at, scales, mins)
    const [by, off] = [half(at + scale), min === undefined ? 0 : half(at + min)]
    for (let i = 0; i < elements; i++) {
      const n = i / block
      const number = low === 8 ? (numbers[i]! << 24) >> 24 : numbers[i]! - offset
      if (!blocks) floats[first + i] = min === undefined ? number * by : number * by + off
      else {
        const product = by * scales[n | 0]! * number
        floats[first + i] = min === undefined ? product : product - off * mins[n | 0]!
      }
    }
  }
}
