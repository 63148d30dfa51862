import { randomBytes } from 'node:crypto'
import type { CID } from 'multiformats/cid'
import { AssetError, reasonOf } from '../core/errors.js'
import type { BlockOptions } from './broker.js'
import { HttpOrigin, type HttpRequest } from './http.js'
import type { HttpReply } from './http-reply.js'

const MOST_REPLY = 1024 * 1024
const PATIENCE_MS = 60_000
/** Bytes a millisecond: 5 MB/s, less than a slow disk. */
const SLOWEST_READING = 5000
// The first that knows the profile of our CIDs, and the oldest that this is tested with.
const OLDEST = [0, 40]
// What a node says of a block that it doesn't have, offline, and where nobody else has it either.
const MISSING = /could not find|not found|deadline exceeded/

/** Blocks, and their bytes. */
export interface Amount {
  readonly blocks: number
  readonly bytes: number
}

/**
 * What is asked of a Kubo node: its RPC. `kubo-rpc-client` is not used: it keeps a whole upload in memory and bounds no answer.
 * Source: the reference of Kubo's RPC API v0.
 */
export class KuboRpc {
  private readonly origin: HttpOrigin
  /** `kubo http://127.0.0.1:5001` */
  readonly name: string

  /** @throws AssetError 'BAD_USAGE' for what is no address */
  constructor(
    address: string,
    private readonly patience: number = PATIENCE_MS,
  ) {
    this.origin = new HttpOrigin(address, patience)
    this.name = `kubo ${this.origin.name}`
  }

  /** Makes sure that a node of a version that will do answers. @throws AssetError 'IO' | 'UNSUPPORTED' */
  async check(signal?: AbortSignal): Promise<void> {
    const { Version: version } = await this.json('version', {}, signal).catch((error: AssetError) => {
      if (error.code === 'ABORTED') throw error
      const how = 'start it with "ipfs daemon", or name the address of its RPC'
      throw new AssetError(error.code, `Cannot use the ${this.name}: ${reasonOf(error)}; ${how}`, { cause: error })
    })
    const [major = 0, minor = 0] = String(version).split('.').map(Number)
    if (major > OLDEST[0]! || (major === OLDEST[0] && minor >= OLDEST[1]!)) return
    throw new AssetError(
      'UNSUPPORTED',
      `Cannot use the ${this.name}: it has version ${JSON.stringify(version)}; it must be 0.40 or later, update it`,
    )
  }

  /** The bytes of a block, unverified, that the node has or can find; undefined where it can't. */
  async block(cid: CID, { limit, signal, onUnmeasured }: BlockOptions): Promise<Uint8Array | undefined> {
    const reply = await this.call('block/get', { arg: `${cid}`, timeout: '30s' }, { signal })
    if (reply.status === 200) {
      if (!reply.isMeasured) onUnmeasured?.()
      return reply.bytes(limit)
    }
    const why = await this.complaint(reply)
    if (MISSING.test(why)) return undefined
    throw this.failed('get a block of', why)
  }

  /** Whether the node itself has a block: nobody else is asked. */
  async has(cid: CID, signal?: AbortSignal): Promise<boolean> {
    const reply = await this.call('block/stat', { arg: `${cid}`, offline: 'true' }, { signal })
    if (reply.status === 200) {
      await reply.bytes(MOST_REPLY)
      return true
    }
    const why = await this.complaint(reply)
    if (MISSING.test(why)) return false
    throw this.failed('ask for a block', why)
  }

  /** Gives the node a CAR, of which it verifies every block; pins nothing. Resolves to what it took. */
  async importCar(car: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<Amount> {
    const options = { 'pin-roots': 'false', stats: 'true' }
    // Nobody who wrote the bytes can know it, so that it is nowhere in them.
    const boundary = randomBytes(24).toString('hex')
    const headers = { 'content-type': `multipart/form-data; boundary=${boundary}` }
    const { Stats: stats } = await this.json('dag/import', options, signal, { headers, body: formOf(car, boundary) })
    return { blocks: countOf(stats, 'BlockCount'), bytes: countOf(stats, 'BlockBytesCount') }
  }

  /** Walks a DAG of so many bytes at the node, which must have all of it. Resolves to what it is of, each block once. */
  async stat(root: CID, size: number, signal?: AbortSignal): Promise<Amount> {
    const options = { arg: `${root}`, offline: 'true', progress: 'false' }
    // Nothing comes until the node has read every block.
    const reply = await this.json('dag/stat', options, signal, { patience: this.untilRead(size) })
    const [dag] = Array.isArray(reply.DagStats) ? reply.DagStats : []
    if (dag?.Cid !== undefined && idOf(dag.Cid) !== String(root))
      throw this.failed('check what came to', `it counted ${idOf(dag.Cid)} instead of ${root}`)
    return { blocks: countOf(reply, 'UniqueBlocks'), bytes: countOf(reply, 'TotalSize') }
  }

  /** Keeps a DAG of so many bytes, which it must have, from the node's garbage collection. */
  async pin(root: CID, size: number, signal?: AbortSignal): Promise<void> {
    const options = { arg: `${root}`, offline: 'true' }
    const { Pins: pins } = await this.json('pin/add', options, signal, { patience: this.untilRead(size) })
    if (!Array.isArray(pins) || pins[0] !== String(root))
      throw this.failed('pin at', `it pinned ${JSON.stringify(pins)} instead of ${root}`)
  }

  /** Milliseconds after which a node that reads so many bytes, and is silent meanwhile, is taken for hung. */
  private untilRead(bytes: number): number {
    return this.patience + bytes / SLOWEST_READING
  }

  close(): Promise<void> {
    return this.origin.close()
  }

  private call(command: string, options: Record<string, string>, request: Omit<HttpRequest, 'path'>): Promise<HttpReply> {
    return this.origin.request({ method: 'POST', path: `/api/v0/${command}?${new URLSearchParams(options)}`, ...request })
  }

  /** The last line of an answer, which is JSON. */
  private async json(
    command: string,
    options: Record<string, string>,
    signal: AbortSignal | undefined,
    request: Omit<HttpRequest, 'path'> = {},
  ): Promise<Record<string, unknown>> {
    const reply = await this.call(command, options, { ...request, signal })
    if (reply.status !== 200) throw this.failed(`run ${command} at`, await this.complaint(reply))
    const text = (await reply.bytes(MOST_REPLY)).toString()
    try {
      const value: unknown = JSON.parse(text.trim().split('\n').at(-1)!)
      if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
    } catch {
      // Said below.
    }
    throw this.failed(`run ${command} at`, 'its answer is not that of a Kubo node; is this the address of its RPC?')
  }

  /** What an answer other than 200 says. */
  private async complaint(reply: HttpReply): Promise<string> {
    const text = (await reply.bytes(MOST_REPLY)).toString()
    try {
      const { Message: message } = JSON.parse(text)
      if (reply.status === 500 && typeof message === 'string') return message
    } catch {
      // No Kubo says that.
    }
    return `it answers with status ${reply.status}, which is not what a Kubo node does; is this the address of its RPC?`
  }

  private failed(doing: string, why: string): AssetError {
    return new AssetError('IO', `Cannot ${doing} the ${this.name}: ${why}`)
  }
}

/** A CID in an answer: as text, or as `{ "/": text }`. */
function idOf(value: unknown): string {
  return String(typeof value === 'object' && value !== null && '/' in value ? value['/'] : value)
}

function countOf(value: unknown, name: string): number {
  const count = typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined
  return typeof count === 'number' ? count : Number.NaN
}

/** A file as the only part of a form. */
async function* formOf(file: AsyncIterable<Uint8Array>, boundary: string): AsyncGenerator<Uint8Array> {
  const head = ['content-disposition: form-data; name="file"; filename="file"', 'content-type: application/octet-stream']
  yield Buffer.from(`--${boundary}\r\n${head.join('\r\n')}\r\n\r\n`)
  yield* file
  yield Buffer.from(`\r\n--${boundary}--\r\n`)
}
