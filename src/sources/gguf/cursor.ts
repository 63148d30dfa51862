import { AssetError } from '../../core/errors.js'

/** Says that a header goes on beyond the bytes that were read of it: so many are needed. */
export class MoreNeeded extends Error {
  constructor(readonly bytes: number) {
    super('more of the header is needed')
  }
}

/** Reads the numbers and texts of a header one after the other; nothing is taken that the file can't have. */
export class Cursor {
  position = 0
  private readonly view: DataView

  /** `bytes` are the first ones of a file of `size`. */
  constructor(
    private readonly bytes: Uint8Array,
    readonly size: number,
    readonly what: string,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** Bytes of the file that come after what was read. */
  get left(): number {
    return this.size - this.position
  }

  u8(): number {
    return this.view.getUint8(this.skip(1))
  }
  u16(): number {
    return this.view.getUint16(this.skip(2), true)
  }
  u32(): number {
    return this.view.getUint32(this.skip(4), true)
  }
  i8(): number {
    return this.view.getInt8(this.skip(1))
  }
  i16(): number {
    return this.view.getInt16(this.skip(2), true)
  }
  i32(): number {
    return this.view.getInt32(this.skip(4), true)
  }
  f32(): number {
    return this.view.getFloat32(this.skip(4), true)
  }
  f64(): number {
    return this.view.getFloat64(this.skip(8), true)
  }
  u64(): bigint {
    return this.view.getBigUint64(this.skip(8), true)
  }
  i64(): bigint {
    return this.view.getBigInt64(this.skip(8), true)
  }

  /**
   * A count of things that take `each` bytes or more and are still to come. What the file can't hold, such as -1, is refused
   * before anything is made for it.
   */
  count(of: string, each: number, most: number): number {
    const count = this.u64()
    if (count > BigInt(most)) throw new AssetError('LIMIT', `Cannot read ${this.what}: it claims ${count} ${of}, the limit is ${most}`)
    if (count * BigInt(each) > BigInt(this.left)) throw this.bad(`it claims ${count} ${of}, more than fit in what is left of the file`)
    return Number(count)
  }

  /** A text of at most `most` bytes. */
  text(of: string, most: number): string {
    const length = this.count(`bytes of ${of}`, 1, most)
    return this.decode(this.skip(length), length, of)
  }

  /** The bytes from a position on to where it is now, without a copy. */
  since(begin: number): Uint8Array {
    return this.bytes.subarray(begin, this.position)
  }

  /** Goes on by `length` bytes; gives where they begin. */
  skip(length: number): number {
    if (length > this.left) throw this.bad(`it ends at byte ${this.size}, within its header; it is truncated, get it again`)
    const begin = this.position
    if (begin + length > this.bytes.byteLength) throw new MoreNeeded(begin + length)
    this.position = begin + length
    return begin
  }

  bad(why: string): AssetError {
    return new AssetError('BAD_INPUT', `Cannot read ${this.what}: ${why}`)
  }

  private decode(begin: number, length: number, of: string): string {
    try {
      return UTF8.decode(this.bytes.subarray(begin, begin + length))
    } catch {
      throw this.bad(`${of} is not valid UTF-8`)
    }
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
