import type { CID } from 'multiformats/cid'
import { AssetError, ioError, throwIfAborted } from '../core/errors.js'
import { readExactly } from '../core/read.js'
import { writeAll } from '../store/partial.js'
import type { Place } from './block-places.js'
import type { Broker } from './broker.js'
import { carBlocks } from './car-stream.js'
import { SpoolFile, type SpoolPlace } from './spool-file.js'
import { blockLimit, isBlock } from './verified.js'

const MOST_BLOCK = 2 * 1024 * 1024

/** From where on a CAR is to come, if it is still of this version. */
export interface From {
  readonly start: number
  readonly version: string
}

/** The bytes of a CAR as they come, from `start` on: that which was asked for, or 0. */
export interface CarReply {
  readonly start: number
  /** what the server calls these bytes, where it can go on with them later */
  readonly version: string | undefined
  /** so many bytes at most */
  body(limit: number): AsyncIterable<Uint8Array>
  cancel(): Promise<void>
}

/** Opens the stream of a CAR; undefined where there is none. */
export type OpenCar = (from: From | undefined, signal: AbortSignal) => Promise<CarReply | undefined>

/** A CAR that comes as one stream. */
export interface CarStream {
  /** for messages */
  readonly name: string
  /** what tells it from others */
  readonly address: string
  readonly open: OpenCar
}

/**
 * A CAR that comes as one stream, as a broker: it goes into a file of half the free disk at most, as far as blocks are asked for,
 * and each block is given as soon as it has come. Where the stream breaks off the next one begins there, also after this process.
 */
export function spooledCar(car: CarStream, place: SpoolPlace): Broker {
  const spool = new Spool(car, place)
  return {
    name: car.name,
    // Single blocks are to be had for less.
    rank: 1,
    block: (cid, { limit, signal }) => spool.block(cid, limit, signal),
    close: () => spool.close(),
  }
}

interface Waiting {
  readonly resolve: () => void
  readonly reject: (error: AssetError) => void
}

/** What has come of a CAR so far, and how more of it comes. */
class Spool {
  private readonly stop = new AbortController()
  private readonly waiting = new Set<Waiting>()
  private onWanted: (() => void) | undefined
  private file: SpoolFile | undefined
  private filling: Promise<void> | undefined
  private isLookedFor = false
  private furthest = 0
  private isOver = false
  private error: AssetError | undefined

  constructor(
    private readonly car: CarStream,
    private readonly place: SpoolPlace,
  ) {}

  async block(cid: CID, limit: number, signal: AbortSignal | undefined): Promise<Uint8Array | undefined> {
    for (;;) {
      throwIfAborted(signal, `get the block ${cid} of ${this.car.name}`)
      const { file } = this
      const place = file?.places.find(cid)
      if (file && place) {
        const bytes = await this.read(file, cid, place, Math.min(limit, blockLimit(cid)))
        if (place.offset >= file.foundUpTo || (await isBlock(cid, bytes))) return bytes
        await this.discard(file)
        continue
      }
      if (this.error) throw this.error
      if (this.isOver) return undefined
      this.filling ??= this.fill()
      await this.more(signal)
    }
  }

  private async read({ handle }: SpoolFile, cid: CID, { offset, length }: Place, limit: number): Promise<Uint8Array> {
    if (length > limit)
      throw new AssetError('LIMIT', `Cannot take the block ${cid} of ${this.car.name}: it has ${length} bytes, the limit is ${limit}`)
    const bytes = new Uint8Array(length)
    await readExactly(handle, bytes, offset, this.car.name)
    return bytes
  }

  /** What is damaged was damaged here, and the server is not to be blamed: all of it comes again. */
  private async discard(file: SpoolFile): Promise<void> {
    if (this.file !== file) return
    this.file = undefined
    this.isOver = false
    await file.close()
  }

  /** Takes in the CAR, beginning again as long as that brings something. Whoever waits is told of a failure once; never rejects. */
  private async fill(): Promise<void> {
    for (;;) {
      const before = this.furthest
      try {
        await this.take()
        this.isOver = true
        this.filling = undefined
        this.wake()
        return
      } catch (cause) {
        const error = ioError(`fetch ${this.car.name}`, cause)
        if (error.code === 'IO' && this.furthest > before && !this.stop.signal.aborted) continue
        // What is no CAR stays that; a server or a disk may do better the next time.
        if (error.code !== 'IO' && error.code !== 'ABORTED') this.error = error
        this.filling = undefined
        this.wake(error)
        return
      }
    }
  }

  private async take(): Promise<void> {
    const { car, place } = this
    if (!this.isLookedFor) this.file = await SpoolFile.found(place, car.address, car.name)
    this.isLookedFor = true
    const known = this.file
    this.furthest = Math.max(this.furthest, known?.end ?? 0)
    this.wake()
    const from = known?.version !== undefined && known.end > 0 ? { start: known.end, version: known.version } : undefined
    const reply = await car.open(from, this.stop.signal)
    if (!reply) return
    try {
      const file = known && reply.start > 0 ? known : await this.begin(reply.version)
      await this.takeIn(reply, file)
    } catch (error) {
      await reply.cancel()
      throw error
    }
  }

  /** Begins at the beginning: what there is of it may be of another version. */
  private async begin(version: string | undefined): Promise<SpoolFile> {
    const old = this.file
    this.file = undefined
    await old?.close()
    const file = await SpoolFile.create(this.place, this.car.address, this.car.name, version)
    this.file = file
    return file
  }

  private async takeIn(reply: CarReply, file: SpoolFile): Promise<void> {
    const { name } = this.car
    let isEnded = false
    const written = async function* () {
      let at = reply.start
      for await (const piece of reply.body(file.room)) {
        await writeAll(file.handle, piece, at)
        at += piece.byteLength
        yield piece
      }
      isEnded = true
    }
    try {
      for await (const { cid, bytes, offset } of carBlocks(written(), name, MOST_BLOCK, reply.start)) {
        file.places.add(cid, { offset, length: bytes.byteLength })
        file.end = offset + bytes.byteLength
        this.furthest = Math.max(this.furthest, file.end)
        this.wake()
        await this.wanted()
        this.checkIs(file)
      }
      this.checkIs(file)
    } catch (cause) {
      if (!isEnded || !(cause instanceof AssetError) || cause.code !== 'BAD_INPUT') throw cause
      throw new AssetError('IO', `Cannot fetch ${name}: it ended within a block, ${file.end} bytes are of use`, { cause })
    }
  }

  /** Whether it is still the file that is filled: another may have to be begun. */
  private checkIs(file: SpoolFile): void {
    if (this.file !== file) throw new AssetError('IO', `Cannot go on with ${this.car.name}: what was kept of it is damaged`)
  }

  /** Resolves when somebody waits for what has not come: what nobody needs is not fetched. */
  private async wanted(): Promise<void> {
    while (this.waiting.size === 0 && !this.stop.signal.aborted)
      await new Promise<void>((resolve) => {
        this.onWanted = resolve
      })
    throwIfAborted(this.stop.signal, `fetch ${this.car.name}`)
  }

  /** Resolves when something has come, the stream has ended, or nobody wants to wait any more. */
  private async more(signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve, reject } = withResolvers()
    const one = { resolve, reject }
    this.waiting.add(one)
    signal?.addEventListener('abort', resolve)
    this.onWanted?.()
    try {
      await promise
    } finally {
      this.waiting.delete(one)
      signal?.removeEventListener('abort', resolve)
    }
  }

  private wake(error?: AssetError): void {
    const all = [...this.waiting]
    this.waiting.clear()
    for (const { resolve, reject } of all) error ? reject(error) : resolve()
  }

  async close(): Promise<void> {
    this.stop.abort()
    this.onWanted?.()
    await this.filling
    const { file } = this
    this.file = undefined
    await file?.close(file.end > 0 && (await this.place.isKept?.()))
  }
}

function withResolvers() {
  let resolve!: () => void
  let reject!: (error: AssetError) => void
  const promise = new Promise<void>((onDone, onFailed) => {
    resolve = onDone
    reject = onFailed
  })
  return { promise, resolve, reject }
}
