// Changes safetensors files at random and opens them: node dist/test/hostile/safetensors-fuzz.js SECONDS SEED FILE...
import type { Random } from '../random.js'
import { fuzz } from './fuzzing.js'
import { mutated } from './torch-mutations.js'

/** A changed file; most changes are within its header, which is a small part of it. */
function changed(source: Uint8Array, random: Random): Uint8Array {
  if (random(4) === 0) return mutated(source, random)
  const end = 8 + Number(Buffer.from(source).readBigUInt64LE())
  return Buffer.concat([mutated(source.subarray(0, end), random), source.subarray(end)])
}

await fuzz(changed, '.safetensors')
