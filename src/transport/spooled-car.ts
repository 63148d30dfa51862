import { type FileHandle, mkdtemp, open, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CID } from 'multiformats/cid'
import { AssetError, ioError, reasonOf, throwIfAborted } from '../core/errors.js'
import { readExactly } from '../core/read.js'
import type { Broker } from './broker.js'
import { carBlocks } from './car-stream.js'
import { blockLimit } from './verified.js'

/** Blocks of one CAR: two terabytes of whole leaves. */
const MOST_BLOCKS = 2_000_000
const MOST_BLOCK = 2 * 1024 * 1024

/** Opens the stream of a CAR, so many bytes at most; undefined where there is none. */
export type OpenCar = (limit: number, signal: AbortSignal) => Promise<AsyncIterable<Uint8Array> | undefined>

/**
 * A CAR that comes as one stream, as a broker: it is fetched once, when the first block is asked for, into a temporary file of
 * half the free disk at most, and each block is given as soon as it has come. The file goes with `close`, and with the process.
 * @param name for messages
 */
export function spooledCar(name: string, openCar: OpenCar): Broker {
  const stop = new AbortController()
  let spool: Promise<Spool> | undefined
  const begin = async () => {
    const made = new Spool(name, await temporaryFile())
    void made.fill(openCar, stop.signal)
    return made
  }
  return {
    name,
    async block(cid, { limit, signal }) {
      spool ??= begin()
      // Tried again the next time: the disk may have room then.
      spool.catch(() => {
        spool = undefined
      })
      return (await spool).block(cid, limit, signal)
    },
    async close() {
      stop.abort()
      const opened = await spool?.catch(() => undefined)
      spool = undefined
      await opened?.close()
    },
  }
}

interface Place {
  readonly offset: number
  readonly length: number
}

/** What has come of a CAR so far. */
class Spool {
  private readonly places = new Map<string, Place>()
  private readonly waiting = new Set<() => void>()
  private size = 0
  private filled: Promise<void> | undefined
  private error: AssetError | undefined
  private isEnded = false

  constructor(
    private readonly name: string,
    private readonly file: TemporaryFile,
  ) {}

  /** Takes in the whole CAR; never rejects. */
  fill(openCar: OpenCar, signal: AbortSignal): Promise<void> {
    this.filled = this.take(openCar, signal)
      .catch((error: unknown) => {
        this.error = ioError(`fetch ${this.name}`, error)
      })
      .finally(() => {
        this.isEnded = true
        this.wake()
      })
    return this.filled
  }

  private async take(openCar: OpenCar, signal: AbortSignal): Promise<void> {
    const stream = await openCar(this.file.room, signal)
    if (!stream) return
    for await (const { cid, bytes } of carBlocks(stream, this.name, MOST_BLOCK)) {
      const key = keyOf(cid)
      if (this.places.has(key)) continue
      if (this.places.size === MOST_BLOCKS) throw new AssetError('LIMIT', `Cannot use ${this.name}: it has more than ${MOST_BLOCKS} blocks`)
      await this.file.handle.write(bytes, 0, bytes.byteLength, this.size)
      this.places.set(key, { offset: this.size, length: bytes.byteLength })
      this.size += bytes.byteLength
      this.wake()
    }
  }

  async block(cid: CID, limit: number, signal: AbortSignal | undefined): Promise<Uint8Array | undefined> {
    const key = keyOf(cid)
    for (;;) {
      throwIfAborted(signal, `get the block ${cid} of ${this.name}`)
      const place = this.places.get(key)
      if (place) return this.read(cid, place, Math.min(limit, blockLimit(cid)))
      if (this.error) throw this.error
      if (this.isEnded) return undefined
      await this.more(signal)
    }
  }

  private async read(cid: CID, { offset, length }: Place, limit: number): Promise<Uint8Array> {
    if (length > limit)
      throw new AssetError('LIMIT', `Cannot take the block ${cid} of ${this.name}: it has ${length} bytes, the limit is ${limit}`)
    const bytes = new Uint8Array(length)
    await readExactly(this.file.handle, bytes, offset, this.name)
    return bytes
  }

  /** Resolves when something has come, the stream has ended, or nobody wants to wait any more. */
  private more(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.waiting.delete(done)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      this.waiting.add(done)
      signal?.addEventListener('abort', done)
    })
  }

  private wake(): void {
    for (const done of [...this.waiting]) done()
  }

  async close(): Promise<void> {
    await this.filled
    await this.file.close()
  }
}

interface TemporaryFile {
  readonly handle: FileHandle
  /** bytes that it may have */
  readonly room: number
  close(): Promise<void>
}

async function temporaryFile(): Promise<TemporaryFile> {
  try {
    const folder = await mkdtemp(join(tmpdir(), 'masset-car-'))
    const remove = () => rm(folder, { recursive: true, force: true }).catch(() => undefined)
    try {
      const { bavail, bsize } = await statfs(folder)
      const handle = await open(join(folder, 'blocks'), 'wx+')
      // Where the system allows it the name goes at once, so that nothing stays of a process that is killed.
      if (process.platform !== 'win32') await remove()
      const close = async () => {
        await handle.close()
        await remove()
      }
      return { handle, room: Math.floor((bavail * bsize) / 2), close }
    } catch (error) {
      await remove()
      throw error
    }
  } catch (error) {
    throw new AssetError('IO', `Cannot keep a CAR in ${tmpdir()}: ${reasonOf(error)}; set TMPDIR to a folder with room`, { cause: error })
  }
}

function keyOf(cid: CID): string {
  return Buffer.from(cid.multihash.bytes).toString('latin1')
}
