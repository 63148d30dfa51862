import { crc32 } from 'node:zlib'
import { type FileSums, leafCount, pageCount } from '../asset/sums.js'
import { readSmallFile } from '../core/read.js'
import type { StoreLayout } from './layout.js'

const MAGIC = Buffer.from('MASUMS1\n')

/**
 * The sums of a stored file as the bytes that lie beside it: magic, size (u64), leaf digests, page checksums (u32 each),
 * and a CRC-32 of all that; little-endian.
 */
export function encodeSidecar({ size, leaves, pages }: FileSums): Uint8Array {
  const head = Buffer.alloc(16)
  MAGIC.copy(head)
  head.writeBigUInt64LE(BigInt(size), 8)
  const checksums = Buffer.alloc(pages.length * 4)
  for (let i = 0; i < pages.length; i++) checksums.writeUInt32LE(pages[i]!, i * 4)
  const body = Buffer.concat([head, leaves, checksums])
  const tail = Buffer.alloc(4)
  tail.writeUInt32LE(crc32(body), 0)
  return Buffer.concat([body, tail])
}

/** Bytes of the sidecar of a file of `size` bytes. */
export function sidecarSize(size: number): number {
  return 16 + leafCount(size) * 32 + pageCount(size) * 4 + 4
}

/** Reads a sidecar of a file of `size` bytes; undefined where it is damaged or of another file, so that it is made anew. */
export function decodeSidecar(bytes: Uint8Array, size: number): FileSums | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const [leaves, pages] = [leafCount(size) * 32, pageCount(size)]
  const end = sidecarSize(size) - 4
  if (buffer.byteLength !== end + 4 || !buffer.subarray(0, 8).equals(MAGIC)) return undefined
  if (buffer.readBigUInt64LE(8) !== BigInt(size) || crc32(buffer.subarray(0, end)) !== buffer.readUInt32LE(end)) return undefined
  const checksums = new Uint32Array(pages)
  for (let i = 0; i < pages; i++) checksums[i] = buffer.readUInt32LE(16 + leaves + i * 4)
  return { size, leaves: new Uint8Array(buffer.subarray(16, 16 + leaves)), pages: checksums }
}

/** The sums that lie beside a stored file; undefined where they are missing or damaged. */
export async function readSums(layout: StoreLayout, cid: string, size: number): Promise<FileSums | undefined> {
  const bytes = await readSmallFile(layout.sidecar(cid), sidecarSize(size)).catch(() => undefined)
  return bytes && decodeSidecar(bytes, size)
}
