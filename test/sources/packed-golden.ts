import { readFileSync } from 'node:fs'
import type { PackedType } from '../../src/sources/gguf/types.js'

/** Blocks of each way of packing, and the float32 that the gguf package makes of them. */
export function packedGolden(type: PackedType): { blocks: Buffer; float32: Float32Array } {
  const all = JSON.parse(readFileSync(new URL('../../../test/sources/packed-golden.json', import.meta.url), 'utf8'))
  const [blocks, floats] = [Buffer.from(all[type].blocks, 'base64'), Buffer.from(all[type].float32, 'base64')]
  return { blocks, float32: new Float32Array(new Uint8Array(floats).buffer) }
}

/** The bits of numbers, so that -0 is not 0. */
export function bitsOf(numbers: ArrayLike<number>): Uint32Array {
  return new Uint32Array(Float32Array.from(numbers).buffer)
}
