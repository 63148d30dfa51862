import type { Random } from '../random.js'

const EXTREMES = [0n, 1n, 0x7fn, 0xffn, 0xffffn, 2n ** 31n - 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]
/** Where nearly all of a small file's numbers are. */
const HEAD = 4096

/**
 * A GGUF file with a few changes: bits, bytes, small numbers and extreme ones of 32 and 64 bits, runs that go, come twice or move;
 * most of them near the beginning, since data can be anything. The magic stays, or hardly any would be taken for GGUF.
 */
export function mutatedGguf(source: Uint8Array, random: Random): Buffer {
  let bytes = Buffer.from(source)
  for (let change = random(4) + 1; change > 0 && bytes.byteLength > 24; change--) {
    const at = 4 + random((random(4) > 0 ? Math.min(HEAD, bytes.byteLength) : bytes.byteLength) - 12)
    const run = Math.min(1 + random(random(8) === 0 ? 400 : 12), bytes.byteLength - at)
    const kind = random(8)
    if (kind === 0) bytes[at]! ^= 1 << random(8)
    else if (kind === 1) bytes[at] = random(256)
    else if (kind === 2) bytes[at] = random(16)
    else if (kind === 3) bytes.writeBigUInt64LE(EXTREMES[random(EXTREMES.length)]!, at)
    else if (kind === 4) bytes.writeUInt32LE(Number(EXTREMES[random(EXTREMES.length)]! & 0xffffffffn), at)
    else if (kind === 5) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + run)])
    else if (kind === 6) bytes = Buffer.concat([bytes.subarray(0, at + run), bytes.subarray(at)])
    else bytes.copy(bytes, 4 + random(bytes.byteLength - run - 3), at, at + run)
  }
  return bytes
}
