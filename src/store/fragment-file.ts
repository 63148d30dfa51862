import { crc32 } from 'node:zlib'
import { pageCount } from '../asset/sums.js'
import { AssetError, ioError } from '../core/errors.js'
import { PAGE } from '../core/limits.js'
import { type OpenPlace, openPlace, type Place } from './place.js'

/**
 * One file of an asset, open for reading. Whole pages are read and their checksums compared, so a damaged byte is an
 * error and never a wrong answer; the bytes asked for land in the target without a copy but for the pages at the edges.
 */
export class FragmentFile {
  private constructor(
    private readonly handle: OpenPlace,
    readonly what: string,
    readonly size: number,
    private readonly pages: Uint32Array,
  ) {}

  /** Opens a file whose page checksums are known. @throws AssetError 'NOT_FOUND' | 'IO' | 'CORRUPT' where its size is another */
  static async open(place: Place | string, what: string, size: number, pages: Uint32Array): Promise<FragmentFile> {
    const handle = await openPlace(place, what)
    if (handle.size !== size || pages.length !== pageCount(size)) {
      await handle.close()
      throw damaged(what, `it has ${handle.size} bytes, expected ${size}`)
    }
    const source = typeof place === 'object' ? place.link?.source.path : undefined
    return new FragmentFile(handle, source === undefined ? what : `${what}, which is linked to ${source}`, size, pages)
  }

  /**
   * Fills `target` with the bytes from `offset` on. Resolves to the bytes read from the file, whole pages.
   * @throws AssetError 'CORRUPT' where the file is shorter or a page differs from what was stored
   */
  async read(target: Uint8Array, offset: number): Promise<number> {
    if (target.byteLength === 0) return 0
    const end = offset + target.byteLength
    if (offset < 0 || end > this.size) throw damaged(this.what, `bytes ${offset} to ${end} lie outside its ${this.size} bytes`)
    const firstPage = Math.floor(offset / PAGE)
    const from = firstPage * PAGE
    const to = Math.min(Math.ceil(end / PAGE) * PAGE, this.size)
    // Pages that lie wholly inside the target are read in place; the first and last go through scratch where they stick out.
    const headBytes = offset > from ? Math.min(PAGE, to - from) : 0
    const bodyStart = from + headBytes
    const bodyEnd = end === to ? end : Math.max(bodyStart, Math.floor(end / PAGE) * PAGE)
    const head = new Uint8Array(headBytes)
    const bodyAt = Math.min(bodyStart - offset, target.byteLength)
    const body = target.subarray(bodyAt, Math.max(bodyAt, bodyEnd - offset))
    const tail = new Uint8Array(Math.max(0, to - bodyStart - body.byteLength))
    await this.fill([head, body, tail], from)
    let page = firstPage
    for (const part of [head, body, tail]) {
      for (let at = 0; at < part.byteLength; at += PAGE, page++) {
        if (crc32(part.subarray(at, at + PAGE)) !== this.pages[page])
          throw damaged(this.what, `the page at byte ${page * PAGE} changed since it was stored`)
      }
    }
    if (headBytes > 0) target.set(head.subarray(offset - from, Math.min(headBytes, end - from)))
    if (tail.byteLength > 0) target.set(tail.subarray(0, end - bodyStart - body.byteLength), bodyStart - offset + body.byteLength)
    return to - from
  }

  private async fill(parts: readonly Uint8Array[], position: number): Promise<void> {
    let queue = parts.filter((part) => part.byteLength > 0)
    let at = position
    while (queue.length > 0) {
      const { bytesRead } = await this.handle.readv(queue, at).catch((error: unknown) => {
        throw ioError(`read ${this.what}`, error)
      })
      if (bytesRead === 0) throw damaged(this.what, `it ends at byte ${at}`)
      at += bytesRead
      let left = bytesRead
      queue = queue.flatMap((part) => {
        const taken = Math.min(left, part.byteLength)
        left -= taken
        return taken === part.byteLength ? [] : [part.subarray(taken)]
      })
    }
  }

  close(): Promise<void> {
    return this.handle.close()
  }
}

function damaged(what: string, why: string): AssetError {
  return new AssetError('CORRUPT', `Cannot read ${what}: it is damaged (${why}); run "masset verify" and get the asset again`)
}
