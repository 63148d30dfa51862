import type { Random } from '../random.js'
import { readZip, zip } from '../sources/torch-files.js'

const OPCODES = Buffer.from('().]}tRbsuaeQqrhjcNKMJXUBGX\x80\x81\x85\x86\x87\x88\x89\x8a\x8c\x8f\x90\x93\x94\x95i0oP', 'latin1')
const EXTREMES = [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff]

/** A few changes: bits, bytes, opcodes, whole numbers, runs that go, come twice or move. */
export function mutated(source: Uint8Array, random: Random): Buffer {
  let bytes = Buffer.from(source)
  for (let change = random(4) + 1; change > 0 && bytes.byteLength > 8; change--) {
    const at = random(bytes.byteLength)
    const run = Math.min(1 + random(random(8) === 0 ? 400 : 12), bytes.byteLength - at)
    const kind = random(7)
    if (kind === 0) bytes[at]! ^= 1 << random(8)
    else if (kind === 1) bytes[at] = random(256)
    else if (kind === 2) bytes[at] = OPCODES[random(OPCODES.byteLength)]!
    else if (kind === 3) bytes.writeUInt32LE(EXTREMES[random(EXTREMES.length)]!, Math.min(at, bytes.byteLength - 4))
    else if (kind === 4) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + run)])
    else if (kind === 5) bytes = Buffer.concat([bytes.subarray(0, at + run), bytes.subarray(at)])
    else bytes.copy(bytes, random(bytes.byteLength - run + 1), at, at + run)
  }
  return bytes
}

/**
 * A changed file. Half of the archives are changed only within their pickle and put together again, with checksums that
 * are right: else hardly any change would get that far.
 */
export function mutatedFile(source: Uint8Array, random: Random): Buffer {
  const entries = random(2) === 0 ? readZip(source) : undefined
  if (!entries) return mutated(source, random)
  return zip(entries.map((entry) => (entry.name.endsWith('/data.pkl') ? { ...entry, data: mutated(entry.data, random) } : entry)))
}
