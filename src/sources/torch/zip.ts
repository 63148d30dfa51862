import yauzl from 'yauzl'
import { AssetError, reasonOf } from '../../core/errors.js'
import { LIMITS } from '../../core/limits.js'
import { type Readable, readExactly } from '../../core/read.js'
import { quoted } from '../../graph/names.js'
import { bad } from './values.js'

/** Where the bytes of an entry lie in the archive; `stored` is false where they are compressed or encrypted. */
export interface ZipEntry {
  readonly offset: number
  readonly size: number
  readonly crc32: number
  readonly stored: boolean
}

const HAS_DESCRIPTOR = 8
const ENCRYPTED = 1
const IN_ZIP64 = 0xffffffff

/**
 * The entries of a ZIP archive by their names, by its directory and the header of each; contents are not read.
 * @throws AssetError 'BAD_INPUT' where it makes no sense, or headers and directory don't agree: a name that is there
 *   twice or leaves the archive, entries that overlap; 'LIMIT', 'IO'
 */
export async function readZipDirectory(handle: Readable, size: number, what: string): Promise<Map<string, ZipEntry>> {
  const reader = new BlockReader(handle, size, what)
  try {
    const zip = await yauzl.fromRandomAccessReaderPromise(reader, size, { autoClose: false, strictFileNames: true })
    if (zip.entryCount > LIMITS.zipEntries)
      throw new AssetError('LIMIT', `Cannot read ${what}: it has ${zip.entryCount} entries, the limit is ${LIMITS.zipEntries}`)
    const entries = new Map<string, ZipEntry>()
    const ranges: { begin: number; end: number }[] = []
    for await (const entry of zip.eachEntry()) {
      const name = entry.fileName
      if (entries.has(name)) throw bad(what, `it has two entries ${quoted(name)}`)
      const header = await zip.readLocalFileHeaderPromise(entry)
      checkHeader(entry, header, what)
      const [begin, offset] = [entry.relativeOffsetOfLocalHeader, header.fileDataStart]
      const end = offset + entry.compressedSize
      if (!Number.isSafeInteger(end) || end > size) throw bad(what, `its entry ${quoted(name)} ends beyond it; it is truncated or damaged`)
      const stored = entry.compressionMethod === 0 && (entry.generalPurposeBitFlag & ENCRYPTED) === 0
      entries.set(name, { offset, size: entry.uncompressedSize, crc32: entry.crc32, stored })
      ranges.push({ begin, end })
    }
    ranges.sort((a, b) => a.begin - b.begin)
    for (const [i, { begin }] of ranges.entries()) {
      if (i > 0 && begin < ranges[i - 1]!.end) throw bad(what, `its entries overlap at byte ${begin}`)
    }
    return entries
  } catch (error) {
    if (error instanceof AssetError) throw error
    throw new AssetError('BAD_INPUT', `Cannot read ${what}: its ZIP directory is damaged (${reasonOf(error)})`, { cause: error })
  }
}

/** What the directory says of an entry must be what its own header says, or two readers would see two archives. */
function checkHeader(entry: yauzl.Entry, header: yauzl.LocalFileHeader, what: string): void {
  const name = quoted(entry.fileName)
  if (Buffer.compare(header.fileName, entry.fileNameRaw) !== 0)
    throw bad(what, `its entry ${name} calls itself ${quoted(header.fileName.toString('latin1'))}`)
  const flags = entry.generalPurposeBitFlag
  const isSame = (own: number, listed: number) => own === listed || own === IN_ZIP64 || ((flags & HAS_DESCRIPTOR) !== 0 && own === 0)
  if (
    header.generalPurposeBitFlag !== flags ||
    header.compressionMethod !== entry.compressionMethod ||
    !isSame(header.compressedSize, entry.compressedSize) ||
    !isSame(header.uncompressedSize, entry.uncompressedSize) ||
    (header.crc32 !== entry.crc32 && ((flags & HAS_DESCRIPTOR) === 0 || header.crc32 !== 0))
  )
    throw bad(what, `its entry ${name} has another size, checksum, flag or way of compression than the directory says`)
}

const BLOCK = 4096

/** Reads a file in blocks, since the directory is asked for in pieces of a few bytes. */
class BlockReader extends yauzl.RandomAccessReader {
  readonly #block = Buffer.alloc(BLOCK)
  #begin = 0
  #end = 0

  constructor(
    private readonly handle: Readable,
    private readonly size: number,
    private readonly what: string,
  ) {
    super()
  }

  override read(
    target: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null, bytes?: number) => void,
  ): void {
    this.fill(target.subarray(offset, offset + length), position).then(
      () => callback(null, length),
      (error: unknown) => callback(error as Error),
    )
  }

  private async fill(target: Buffer, position: number): Promise<void> {
    if (!(position >= 0 && position + target.byteLength <= this.size)) throw new Error('it points beyond the end of the file')
    if (position < this.#begin || position + target.byteLength > this.#end) {
      if (target.byteLength > BLOCK) return readExactly(this.handle, target, position, this.what)
      const length = Math.min(BLOCK, this.size - position)
      this.#end = 0
      await readExactly(this.handle, this.#block.subarray(0, length), position, this.what)
      this.#begin = position
      this.#end = position + length
    }
    this.#block.copy(target, 0, position - this.#begin)
  }
}
