import * as CarBufferWriter from '@ipld/car/buffer-writer'
import { varint } from 'multiformats'
import type { CID } from 'multiformats/cid'

/** The bytes that a CAR of version 1 begins with. */
export function carHeader(roots: CID[]): Uint8Array {
  const buffer = new ArrayBuffer(CarBufferWriter.headerLength({ roots }))
  return CarBufferWriter.createWriter(buffer, { roots }).close()
}

/** What stands before the bytes of a block in a CAR: the length of both, and the CID. */
export function sectionHead(cid: CID, length: number): Uint8Array {
  const section = cid.bytes.byteLength + length
  const digits = varint.encodingLength(section)
  const head = new Uint8Array(digits + cid.bytes.byteLength)
  varint.encodeTo(section, head)
  head.set(cid.bytes, digits)
  return head
}
