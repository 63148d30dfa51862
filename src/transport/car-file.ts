import type { FileHandle } from 'node:fs/promises'
import type { CID } from 'multiformats/cid'
import { AssetError } from '../core/errors.js'
import { openFile, readExactly } from '../core/read.js'
import type { Broker } from './broker.js'
import { type CarInput, CarParser } from './car-format.js'

const WINDOW = 4096
/** Blocks of one CAR: two terabytes of whole leaves. */
const MOST_BLOCKS = 2_000_000

/** A file as a CAR is read: what is passed over is not read. */
class FileInput implements CarInput {
  private window: Uint8Array = new Uint8Array(0)
  private windowAt = 0
  pos = 0

  constructor(
    private readonly handle: FileHandle,
    private readonly what: string,
    public end: number,
  ) {}

  async upTo(length: number): Promise<Uint8Array> {
    const wanted = Math.max(0, Math.min(length, this.end - this.pos))
    const at = this.pos - this.windowAt
    if (at < 0 || at + wanted > this.window.byteLength) {
      this.window = new Uint8Array(Math.max(0, Math.min(Math.max(wanted, WINDOW), this.end - this.pos)))
      this.windowAt = this.pos
      await readExactly(this.handle, this.window, this.pos, this.what)
    }
    return this.window.subarray(this.pos - this.windowAt, this.pos - this.windowAt + wanted)
  }

  async exactly(length: number, seek = false): Promise<Uint8Array> {
    const bytes = await this.upTo(length)
    if (bytes.byteLength < length) throw new AssetError('BAD_INPUT', 'it ends too early')
    if (seek) this.pos += length
    return bytes
  }

  seek(length: number): void {
    this.pos += length
  }
}

/** Where a block lies in the file. */
interface Place {
  readonly offset: number
  readonly length: number
}

/** A CAR that was looked through once: where each block is. */
export interface CarIndex {
  readonly roots: readonly CID[]
  /** digest, as text of a byte a character -> place; the first of several */
  readonly places: ReadonlyMap<string, Place>
}

const keyOf = (cid: CID) => Buffer.from(cid.multihash.bytes).toString('latin1')

/**
 * Looks through a CAR, heads only. Its own index, if it has one, is not used.
 * @throws AssetError 'BAD_INPUT' where it is no CAR or is cut off, 'LIMIT', 'UNSUPPORTED', 'IO'
 */
async function indexCar(handle: FileHandle, size: number, path: string): Promise<CarIndex> {
  const input = new FileInput(handle, path, size)
  const parser = await CarParser.of(input, path)
  const { roots, end } = await parser.header(true)
  if (end !== Number.POSITIVE_INFINITY) {
    if (end > size) throw cutOff(path, end, size)
    input.end = end
  }
  const places = new Map<string, Place>()
  for (let section = await parser.section(); section; section = await parser.section()) {
    const { cid, blockLength: length } = section
    const offset = input.pos
    input.seek(length)
    if (input.pos > input.end) throw cutOff(path, input.pos, size)
    const key = keyOf(cid)
    if (!places.has(key)) places.set(key, { offset, length })
    if (places.size > MOST_BLOCKS) throw new AssetError('LIMIT', `Cannot use the CAR ${path}: it has more than ${MOST_BLOCKS} blocks`)
  }
  return { roots, places }
}

function cutOff(path: string, expected: number, size: number): AssetError {
  return new AssetError(
    'BAD_INPUT',
    `Cannot use the CAR ${path}: it is cut off (it has ${size} bytes, expected ${expected} or more); get it again`,
  )
}

/** A CAR file as a broker; opened and looked through when the first block is asked for. */
export interface CarFile extends Broker {
  /** the roots that it names, and where its blocks are @throws AssetError as {@link indexCar}, 'NOT_FOUND' */
  index(): Promise<CarIndex>
}

/** The blocks of a CAR file. */
export function carFile(path: string): CarFile {
  let opened: Promise<{ handle: FileHandle; index: CarIndex }> | undefined
  const open = async () => {
    const { handle, facts } = await openFile(path, path)
    try {
      return { handle, index: await indexCar(handle, facts.size, path) }
    } catch (error) {
      await handle.close()
      throw error
    }
  }
  const once = () => {
    opened ??= open()
    return opened
  }
  return {
    name: path,
    async index() {
      return (await once()).index
    },
    async block(cid, { limit }) {
      const { handle, index } = await once()
      const place = index.places.get(keyOf(cid))
      if (!place) return undefined
      if (place.length > limit)
        throw new AssetError('LIMIT', `Cannot take the block ${cid} of ${path}: it has ${place.length} bytes, the limit is ${limit}`)
      const bytes = new Uint8Array(place.length)
      await readExactly(handle, bytes, place.offset, path)
      return bytes
    },
    async close() {
      const { handle } = (await opened?.catch(() => undefined)) ?? {}
      opened = undefined
      await handle?.close()
    },
  }
}
