import { AssetError } from '../core/errors.js'
import type { Block } from './broker.js'
import { type CarInput, CarParser } from './car-format.js'

/** Bytes that come one after the other, in pieces of any size, as a CAR is read. */
class StreamInput implements CarInput {
  private readonly pieces: AsyncIterator<Uint8Array>
  private ahead: Uint8Array = new Uint8Array(0)

  constructor(
    stream: AsyncIterable<Uint8Array>,
    public pos: number,
  ) {
    this.pieces = stream[Symbol.asyncIterator]()
  }

  private async fill(length: number): Promise<void> {
    if (this.ahead.byteLength >= length) return
    const parts = [this.ahead]
    let have = this.ahead.byteLength
    while (have < length) {
      const { done, value } = await this.pieces.next()
      if (done) break
      parts.push(value)
      have += value.byteLength
    }
    const [, only] = parts
    this.ahead = parts.length === 2 && parts[0]!.byteLength === 0 ? only! : Buffer.concat(parts)
  }

  async upTo(length: number): Promise<Uint8Array> {
    await this.fill(length)
    return this.ahead.subarray(0, length)
  }

  async exactly(length: number, seek = false): Promise<Uint8Array> {
    await this.fill(length)
    if (this.ahead.byteLength < length) throw new AssetError('BAD_INPUT', 'it ends too early')
    const bytes = this.ahead.subarray(0, length)
    if (seek) this.seek(length)
    return bytes
  }

  /** Goes on over what was looked at. */
  seek(length: number): void {
    if (length < 0 || length > this.ahead.byteLength) throw new AssetError('BAD_INPUT', 'it is not to be read in one go')
    this.ahead = this.ahead.subarray(length)
    this.pos += length
  }

  async close(): Promise<void> {
    await this.pieces.return?.()
  }
}

/** A block of a CAR, and where its bytes begin in there. */
export interface CarBlock extends Block {
  readonly offset: number
}

/**
 * The blocks of a CAR (version 1) that comes as a stream, unverified, each at most `limit` bytes.
 * @param start where the stream begins: at a section of the CAR, whose header is not looked for then, or at 0
 * @throws AssetError 'BAD_INPUT' where it is none or ends too early, 'LIMIT'
 */
export async function* carBlocks(stream: AsyncIterable<Uint8Array>, what: string, limit: number, start = 0): AsyncGenerator<CarBlock> {
  const input = new StreamInput(stream, start)
  try {
    const parser = await CarParser.of(input, what)
    if (start === 0) await parser.header(false)
    else parser.skipHeader()
    for (let section = await parser.section(); section; section = await parser.section()) {
      const { cid, blockLength } = section
      if (blockLength > limit)
        throw new AssetError('LIMIT', `Cannot take the block ${cid} of ${what}: it has ${blockLength} bytes, the limit is ${limit}`)
      const offset = input.pos
      yield { cid, bytes: await input.exactly(blockLength, true), offset }
    }
  } finally {
    await input.close()
  }
}
