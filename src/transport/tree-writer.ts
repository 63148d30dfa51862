import { type FileHandle, mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import { formatBytes } from '../core/bytes.js'
import { AssetError, ioError } from '../core/errors.js'
import { LIMITS } from '../core/limits.js'
import { foldName, isSafePath } from '../core/paths.js'
import type { LongCall } from '../core/progress.js'
import { writeAll } from '../store/partial.js'

/** A file whose parts come in any order. */
export interface WritingFile {
  /** Writes a part; `more` parts have become known with it. The last one completes the file. @throws AssetError 'IO' */
  write(bytes: Uint8Array, offset: number, more: number): Promise<void>
}

/** Writes files and folders with names from outside below a new folder, and no more of them than is allowed. */
export class TreeWriter {
  files = 0
  folders = 0
  /** bytes of the files that were begun */
  planned = 0
  private taken = 0
  private done = 0
  private readonly opened = new Set<FileHandle>()

  constructor(
    private readonly root: string,
    private readonly most: number,
    private readonly onProgress: LongCall['onProgress'],
  ) {}

  /**
   * The path of a name in a folder; `names` holds those that the folder has already.
   * @throws AssetError 'BAD_INPUT' for a name that is no name everywhere, or another one in a different spelling; 'LIMIT'
   */
  take(folder: string, name: string, names: Set<string>): string {
    const path = folder === '' ? name : `${folder}/${name}`
    const refused = (code: 'BAD_INPUT' | 'LIMIT', why: string) =>
      new AssetError(code, `Cannot take the name ${JSON.stringify(path.slice(-100))}: ${why}`)
    if (name.includes('/') || !isSafePath(path)) throw refused('BAD_INPUT', 'it is not safe everywhere')
    if (path.split('/').length > LIMITS.pathSegments) throw refused('LIMIT', `it lies deeper than ${LIMITS.pathSegments} folders`)
    const key = foldName(name)
    if (names.has(key)) throw refused('BAD_INPUT', 'the folder has it already, perhaps in another spelling')
    names.add(key)
    this.taken += 1
    if (this.taken > LIMITS.files)
      throw new AssetError('LIMIT', `Cannot write ${this.root}: there are more than ${LIMITS.files} files and folders`)
    return path
  }

  /** Makes a folder at a path that was taken; '' is there. @throws AssetError 'IO' */
  async folder(path: string): Promise<void> {
    if (path === '') return
    this.folders += 1
    await mkdir(join(this.root, path)).catch(failed(path))
  }

  /** Begins a file of `size` bytes at a path that was taken. @throws AssetError 'LIMIT' | 'IO' */
  async file(path: string, size: number): Promise<WritingFile> {
    this.files += 1
    this.planned += size
    if (this.planned > this.most)
      throw new AssetError(
        'LIMIT',
        `Cannot write ${path}: with it there are more than ${formatBytes(this.most)}, which is all that may be written here`,
      )
    const handle = await open(join(this.root, path), 'wx').catch(failed(path))
    this.opened.add(handle)
    let left = 1
    return {
      write: async (bytes, offset, more) => {
        left += more
        try {
          await writeAll(handle, bytes, offset)
          this.done += bytes.byteLength
          this.onProgress?.({ phase: 'fetch', done: this.done, total: this.planned })
          left -= 1
          if (left > 0) return
          await handle.sync()
          this.opened.delete(handle)
          await handle.close()
        } catch (error) {
          failed(path)(error)
        }
      },
    }
  }

  /** Closes the files that were not completed. */
  async close(): Promise<void> {
    for (const handle of this.opened) await handle.close()
  }
}

function failed(path: string): (error: unknown) => never {
  return (error) => {
    throw ioError(`write ${path}`, error)
  }
}
