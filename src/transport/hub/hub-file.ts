import { createHash } from 'node:crypto'
import { AssetError } from '../../core/errors.js'
import type { RemoteFile } from '../../sources/mounts.js'
import { again, Passing } from './again.js'
import type { HubClient, HubReply } from './client.js'

/** What is asked for at least: headers are read in small pieces. */
const BLOCK = 16 * 1024

/** A file of a repository as the hub lists it. */
export interface ListedFile {
  readonly path: string
  readonly size: number
  /** the SHA-256 of a large file, or the name that git has for a small one: a SHA-1 */
  readonly digest: string
}

/**
 * A file of a commit of a repository, read by ranges. The commit says what its bytes are, so they never change; a server that
 * gives another file, another range or too few bytes is an error.
 */
export class HubFile implements RemoteFile {
  readonly size: number
  /** bytes that came */
  fetched = 0
  private block = { position: 0, bytes: new Uint8Array(0) }
  /** where the hub sends on to; asked without the hub until it refuses */
  private place: URL | undefined
  private readonly etags = new Map<string, string>()

  constructor(
    private readonly client: HubClient,
    private readonly file: ListedFile,
    /** where the hub has it */
    private readonly url: URL,
    private readonly commit: string,
  ) {
    this.size = file.size
  }

  /** See {@link RemoteFile}. @throws AssetError 'IO' where it can't be had, 'CORRUPT' where something else comes; 'NOT_FOUND', 'BAD_INPUT', 'ABORTED' */
  async read(target: Uint8Array, at: number, length: number, position: number): Promise<{ bytesRead: number }> {
    const bytesRead = Math.max(0, Math.min(length, this.size - position))
    const into = target.subarray(at, at + bytesRead)
    if (bytesRead > 0 && bytesRead <= BLOCK && !this.isKept(bytesRead, position)) {
      const bytes = new Uint8Array(Math.min(BLOCK, this.size - position))
      await this.fetch(bytes, position)
      this.block = { position, bytes }
      into.set(bytes.subarray(0, bytesRead))
    } else if (bytesRead > 0) await this.fill(into, position)
    return { bytesRead }
  }

  /** See {@link RemoteFile}. @throws AssetError as {@link read} */
  async fill(target: Uint8Array, position: number): Promise<void> {
    const { bytes, position: begin } = this.block
    if (!this.isKept(target.byteLength, position)) return this.fetch(target, position)
    target.set(bytes.subarray(position - begin, position - begin + target.byteLength))
  }

  private isKept(length: number, position: number): boolean {
    const from = position - this.block.position
    return from >= 0 && from + length <= this.block.bytes.byteLength
  }

  private async fetch(into: Uint8Array, position: number): Promise<void> {
    let done = 0
    const attempt = async () => {
      const { reply } = await this.openRange(position + done, position + into.byteLength)
      for await (const bytes of reply.body(into.byteLength - done)) {
        into.set(bytes, done)
        done += bytes.byteLength
        this.fetched += bytes.byteLength
      }
      if (done < into.byteLength) throw new Passing(`Cannot read ${this.what}: the connection was cut; try again`)
    }
    const { signal, pause } = this.client
    await again(attempt, { signal, pause, progress: () => done })
    if (into.byteLength === this.size) this.checkDigest(into)
  }

  private async openRange(from: number, to: number): Promise<HubReply> {
    let opened = await this.client.open(this.place ?? this.url, { from, to })
    if (this.place && [401, 403, 404, 410].includes(opened.reply.status)) {
      // It was good for a while only.
      await opened.reply.cancel()
      this.place = undefined
      opened = await this.client.open(this.url, { from, to })
    }
    const { reply, url, said } = opened
    const isWhole = reply.status === 200 && from === 0 && to === this.size
    if (reply.status !== 206 && !isWhole) {
      if (reply.status !== 200) throw await this.client.refused(opened)
      await this.dropped(opened)
      throw this.wrong('it gives the whole file where a part was asked for')
    }
    const found = this.faultOf(opened, isWhole ? undefined : `bytes ${from}-${to - 1}/${this.size}`)
    if (found !== undefined) {
      await this.dropped(opened)
      throw this.wrong(found)
    }
    if (Object.keys(said).length > 0) this.place = this.client.isOwn(url) ? undefined : url
    return opened
  }

  /** What is wrong about a reply to a question for this file, by its headers. */
  private faultOf({ reply: { headers }, url, said }: HubReply, range: string | undefined): string | undefined {
    if (range !== undefined && headers['content-range'] !== range)
      return `it gives ${headers['content-range'] ?? 'no range'}, asked for ${range}`
    const isOther = (header: string, expected: string) => said[header] !== undefined && plain(said[header]) !== expected
    if (isOther('x-repo-commit', this.commit)) return `it is of the commit ${plain(said['x-repo-commit'])}, asked for ${this.commit}`
    if (isOther('x-linked-size', String(this.size))) return `it has ${plain(said['x-linked-size'])} bytes, the hub lists ${this.size}`
    if (this.file.digest.length === 64 && isOther('x-linked-etag', this.file.digest)) return 'it is another file than the hub lists'
    const { etag } = headers
    const known = this.etags.get(url.origin)
    if (etag !== undefined && known !== undefined && etag !== known) return 'it changed while it was read'
    if (etag !== undefined) this.etags.set(url.origin, etag)
    return undefined
  }

  private async dropped({ reply }: HubReply): Promise<void> {
    this.place = undefined
    await reply.cancel()
  }

  private checkDigest(bytes: Uint8Array): void {
    const { digest } = this.file
    const isLarge = digest.length === 64
    const hash = isLarge ? createHash('sha256') : createHash('sha1').update(`blob ${this.size}\0`)
    if (hash.update(bytes).digest('hex') !== digest) throw this.wrong('its bytes are not those that the hub lists')
  }

  private get what(): string {
    return `${this.file.path} of ${this.client.what}`
  }

  private wrong(why: string): AssetError {
    return new AssetError('CORRUPT', `Cannot read ${this.what}: ${why}; try again`)
  }
}

/** A header without the quotes of an ETag. */
function plain(header: string | string[] | undefined): string {
  return String(header)
    .replace(/^(?:W\/)?"(.*)"$/, '$1')
    .slice(0, 100)
}
