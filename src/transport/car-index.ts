import type { FileHandle } from 'node:fs/promises'
import type { CID } from 'multiformats/cid'
import { AssetError } from '../core/errors.js'
import { readExactly } from '../core/read.js'
import { BlockPlaces } from './block-places.js'
import { type CarInput, CarParser } from './car-format.js'

const WINDOW = 4096

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

/** A CAR that was looked through once: where each block is. */
export interface CarIndex {
  readonly roots: readonly CID[]
  readonly places: BlockPlaces
}

/**
 * Looks through a CAR, heads only. Its own index, if it has one, is not used.
 * @throws AssetError 'BAD_INPUT' where it is no CAR or is cut off, 'LIMIT', 'UNSUPPORTED', 'IO'
 */
export async function indexCar(handle: FileHandle, size: number, path: string): Promise<CarIndex> {
  const input = new FileInput(handle, path, size)
  const parser = await CarParser.of(input, path)
  const { roots, end } = await parser.header(true)
  if (end !== Number.POSITIVE_INFINITY) {
    if (end > size) throw cutOff(path, end, size)
    input.end = end
  }
  const places = new BlockPlaces(path)
  for (let section = await parser.section(); section; section = await parser.section()) {
    const { cid, blockLength: length } = section
    const offset = input.pos
    input.seek(length)
    if (input.pos > input.end) throw cutOff(path, input.pos, size)
    places.add(cid, { offset, length })
  }
  return { roots, places }
}

/**
 * Looks through the beginning of a CAR of version 1, up to where it is cut off or can't be read.
 * @returns where its blocks are, and where the last whole one ends, or the header; 0 where not even that is whole
 */
export async function indexBeginning(handle: FileHandle, size: number, path: string): Promise<{ places: BlockPlaces; end: number }> {
  const input = new FileInput(handle, path, size)
  const places = new BlockPlaces(path)
  let end = 0
  try {
    const parser = await CarParser.of(input, path)
    await parser.header(false)
    end = input.pos
    for (let section = await parser.section(); section; section = await parser.section()) {
      const offset = input.pos
      input.seek(section.blockLength)
      if (input.pos > size) break
      places.add(section.cid, { offset, length: section.blockLength })
      end = input.pos
    }
  } catch (error) {
    if (!(error instanceof AssetError)) throw error
  }
  return { places, end }
}

function cutOff(path: string, expected: number, size: number): AssetError {
  return new AssetError(
    'BAD_INPUT',
    `Cannot use the CAR ${path}: it is cut off (it has ${size} bytes, expected ${expected} or more); get it again`,
  )
}
