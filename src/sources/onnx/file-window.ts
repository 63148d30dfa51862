import { type Readable, readExactly } from '../../core/read.js'

const WINDOW = 256 * 1024

/** Short looks into a file, mostly one after the other: a part of it is kept, so that few of them are reads. */
export class FileWindow {
  private readonly bytes = new Uint8Array(WINDOW)
  private start = 0
  private length = 0

  constructor(
    private readonly handle: Readable,
    private readonly what: string,
    private readonly size: number,
  ) {}

  /** `length` bytes (at most a window) from `position` on, good until the next look. @throws AssetError 'CORRUPT' | 'IO' */
  async at(position: number, length: number): Promise<Uint8Array> {
    if (position < this.start || position + length > this.start + this.length) {
      this.start = position
      this.length = 0
      const filled = Math.min(WINDOW, Math.max(length, this.size - position))
      await readExactly(this.handle, this.bytes.subarray(0, filled), position, this.what)
      this.length = filled
    }
    return this.bytes.subarray(position - this.start, position - this.start + length)
  }
}
