import type { CID } from 'multiformats/cid'
import { AssetError } from '../core/errors.js'

/** Bytes of a CAR's header: some 25,000 roots. */
const MOST_HEADER = 1024 * 1024
/** Bytes of a section, as other readers have it. */
const MOST_SECTION = 8 * 1024 * 1024
/** Bytes of a CID. */
const MOST_CID = 256

/** Where a CAR is read, as the library asks for it. */
export interface CarInput {
  /** the next bytes, fewer only where it ends, without going on */
  upTo(length: number): Promise<Uint8Array>
  /** the next bytes, all of them @throws where it ends before */
  exactly(length: number, seek?: boolean): Promise<Uint8Array>
  seek(length: number): void
  readonly pos: number
}

/** The head of a section: the block's CID, and how many bytes it has. */
export interface CarSection {
  readonly cid: CID
  readonly blockLength: number
}

/** What the header says: its roots, and where the sections end where that is before the end of the file. */
export interface CarHeader {
  readonly roots: readonly CID[]
  readonly end: number
}

/**
 * Reads a CAR that came from outside, by the decoder of `@ipld/car` within limits of our own: it allocates what the bytes ask for.
 * CARs of version 2 are read without their index, which nobody vouches for.
 */
export class CarParser {
  private most = MOST_HEADER

  private constructor(
    private readonly decoder: typeof import('@ipld/car/decoder'),
    private readonly input: CarInput,
    private readonly what: string,
  ) {}

  /** @param what for messages: the path of the CAR, or who sends it */
  static async of(input: CarInput, what: string): Promise<CarParser> {
    return new CarParser(await import('@ipld/car/decoder'), input, what)
  }

  /** The library's view of the input: no single piece is larger than what may come now. */
  private get bounded(): CarInput {
    const { input } = this
    const check = (length: number) => {
      if (length > this.most) throw new AssetError('LIMIT', `it has a part of ${length} bytes where ${this.most} are allowed`)
    }
    return {
      upTo: (length) => input.upTo(length),
      async exactly(length, seek) {
        check(length)
        return input.exactly(length, seek)
      },
      seek: (length) => input.seek(length),
      get pos() {
        return input.pos
      },
    }
  }

  /** @throws AssetError 'BAD_INPUT' | 'LIMIT' | 'UNSUPPORTED' for a version other than 1, or 2 where `anyVersion` */
  async header(anyVersion: boolean): Promise<CarHeader> {
    const header = await this.guarded(() => this.decoder.readHeader(this.bounded as never, anyVersion ? undefined : 1))
    this.most = MOST_CID
    const { roots } = header
    if (!('dataOffset' in header)) return { roots, end: Number.POSITIVE_INFINITY }
    const { dataOffset, dataSize } = header
    if (!Number.isSafeInteger(dataOffset + dataSize) || dataOffset < 51 || dataSize === 0)
      throw this.bad('its header of version 2 says where no data can be')
    return { roots, end: dataOffset + dataSize }
  }

  /** To be called instead of {@link header} where the input begins at a section. */
  skipHeader(): void {
    this.most = MOST_CID
  }

  /** The next section's head; undefined at the end. The block is what comes next. */
  async section(): Promise<CarSection | undefined> {
    return this.guarded(async () => {
      if ((await this.input.upTo(1)).byteLength === 0) return undefined
      const { cid, blockLength } = await this.decoder.readBlockHead(this.bounded as never)
      if (blockLength < 0 || !Number.isSafeInteger(blockLength)) throw this.bad(`the block ${cid} has no such length`)
      if (blockLength > MOST_SECTION)
        throw new AssetError('LIMIT', `its block ${cid} has ${blockLength} bytes, the limit is ${MOST_SECTION}`)
      return { cid, blockLength }
    })
  }

  private async guarded<T>(read: () => Promise<T>): Promise<T> {
    try {
      return await read()
    } catch (error) {
      const code = error instanceof AssetError ? error.code : 'BAD_INPUT'
      const why = error instanceof Error ? error.message : String(error)
      if (why.startsWith('Cannot')) throw error
      throw new AssetError(code, `Cannot read the CAR ${this.what}: ${why} (at byte ${this.input.pos})`, { cause: error })
    }
  }

  private bad(why: string): AssetError {
    return new AssetError('BAD_INPUT', why)
  }
}
