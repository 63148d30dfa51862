import { rename, stat } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import * as raw from 'multiformats/codecs/raw'
import { fileDag } from '../asset/dag.js'
import { type AssetFile, type FileSums, leafCount, pageCount, sumBytes } from '../asset/sums.js'
import { AssetError, ioError, systemCode } from '../core/errors.js'
import { LEAF, LIMITS, PAGE } from '../core/limits.js'
import { readExactly } from '../core/read.js'
import { DirectWrites } from './direct-writes.js'
import type { StoreLayout } from './layout.js'
import { LeafNotes, newPartial, openPartial, type PartialFile, partialsOf, removePartial, writeAll, writeInPlace } from './partial.js'
import { isLinked } from './place.js'
import { encodeSidecar, sidecarSize } from './sidecar.js'

const PAGES_PER_LEAF = LEAF / PAGE
// So often the disk is asked to begin with what was written: at the end little is left to wait for.
const SYNC_AFTER = 64

/** A file that arrives, by what it is. */
export type ArrivingId = Pick<AssetFile, 'cid' | 'size'>

/** True where a file is in the store, whole as far as sizes tell; its bytes were verified when it arrived. */
export async function isStored(layout: StoreLayout, { cid, size }: ArrivingId): Promise<boolean> {
  const key = String(cid)
  const isOf = (path: string, size: number) =>
    stat(path).then(
      (facts) => facts.isFile() && facts.size === size,
      () => false,
    )
  const isThere = (await isOf(layout.file(key), size)) || (await isLinked(layout, { cid, size }))
  return isThere && isOf(layout.sidecar(key), sidecarSize(size))
}

/**
 * A file of the store while it arrives, leaf by leaf and in any order. What has arrived stays when this process ends in
 * whatever way, and counts again after its hash was compared; several processes may fetch the same file at once.
 * Single-leaf files arrive at once or not at all.
 */
export class ArrivingFile implements AsyncDisposable {
  readonly #there: Uint8Array
  #left: number
  #unsynced = 0
  #syncing: Promise<void> | undefined
  #failed: { readonly error: unknown } | undefined

  private constructor(
    private readonly layout: StoreLayout,
    readonly cid: ArrivingId['cid'],
    private readonly partial: PartialFile,
    private readonly notes: LeafNotes | undefined,
    private readonly direct: DirectWrites | undefined,
    /** page checksums count only for leaves that are there */
    readonly sums: FileSums,
  ) {
    this.#there = new Uint8Array(leafCount(sums.size))
    this.#left = this.#there.length
  }

  /**
   * Begins or resumes a file. `digestsOf` is asked for the SHA-256 of each leaf (32 bytes each, one after the other) where they
   * were not kept; they must give the CID. Given `damaged`, what is right in that file is taken from there.
   * @throws AssetError 'BAD_INPUT' where CID, size and digests disagree, 'LIMIT' above 64 GiB, 'IO'; nothing new stays then
   */
  static async open(layout: StoreLayout, id: ArrivingId, digestsOf: () => Promise<Uint8Array>, damaged?: string): Promise<ArrivingFile> {
    checkSize(id)
    const doing = `write ${id.cid} into the store ${layout.root}`
    const [key, count] = [String(id.cid), leafCount(id.size)]
    const isNew = damaged !== undefined || count === 1
    const partial = await (isNew ? newPartial(layout, key, damaged) : openPartial(layout, key)).catch((error: unknown) => {
      throw ioError(doing, error)
    })
    let notes: LeafNotes | undefined
    let direct: DirectWrites | undefined
    try {
      if (count > 1) {
        notes = await LeafNotes.open(partial.path, count)
        direct = await DirectWrites.open(partial.path)
      }
      const noted = await notes?.read()
      const known = noted && (await isRight(id, noted.digests)) ? noted : undefined
      const leaves = known?.digests ?? (id.cid.code === raw.code ? id.cid.multihash.digest : await digestsOf())
      if (!known && !(await isRight(id, leaves)))
        throw new AssetError('BAD_INPUT', `Cannot take ${id.cid} for a file of ${id.size} bytes: its leaves are not those of such a file`)
      if (!known) await notes?.begin(leaves)
      await partial.handle.truncate(id.size)
      const file = new ArrivingFile(layout, id.cid, partial, notes, direct, {
        size: id.size,
        leaves,
        pages: new Uint32Array(pageCount(id.size)),
      })
      await file.#recall((leaf) => damaged !== undefined || known?.there[leaf] === 1)
      return file
    } catch (error) {
      await notes?.close()
      await direct?.close()
      await partial.handle.close()
      if (partial.isNew) await removePartial(partial.path).catch(() => undefined)
      throw ioError(doing, error)
    }
  }

  /** Counts the leaves that are said to be there, and are. */
  async #recall(isSaid: (leaf: number) => boolean): Promise<void> {
    const buffer = new Uint8Array(LEAF)
    for (const leaf of this.missing()) {
      if (!isSaid(leaf)) continue
      const bytes = buffer.subarray(0, this.lengthOf(leaf))
      await readExactly(this.partial.handle, bytes, leaf * LEAF, this.path)
      const found = sumBytes(bytes)
      if (Buffer.compare(found.leaves, this.digestOf(leaf)) !== 0) continue
      this.sums.pages.set(found.pages, leaf * PAGES_PER_LEAF)
      this.#count(leaf)
    }
  }

  #count(leaf: number): void {
    this.#left -= 1 - this.#there[leaf]!
    this.#there[leaf] = 1
  }

  /** Where its bytes lie until it is finished: a file of its full size, with zeros for what is missing. */
  get path(): string {
    return this.partial.path
  }

  /** How many leaves are missing. */
  get left(): number {
    return this.#left
  }

  has(leaf: number): boolean {
    return this.#there[leaf] === 1
  }

  /** The leaves that are missing, in order; those that arrive meanwhile are left out. */
  *missing(): Generator<number> {
    for (let leaf = 0; leaf < this.#there.length; leaf++) if (!this.has(leaf)) yield leaf
  }

  /** The SHA-256 of a leaf, 32 bytes. */
  digestOf(leaf: number): Uint8Array {
    return this.sums.leaves.subarray(leaf * 32, leaf * 32 + 32)
  }

  /** The bytes of a leaf: 1 MiB but for the last. */
  lengthOf(leaf: number): number {
    return Math.min(LEAF, this.sums.size - leaf * LEAF)
  }

  /**
   * Takes in a leaf, whose bytes the caller has compared with {@link digestOf}. It can be read from `path` when this resolves.
   * @throws AssetError 'BAD_INPUT' where its length is another, 'IO'
   */
  async put(leaf: number, bytes: Uint8Array): Promise<void> {
    const length = this.lengthOf(leaf)
    if (bytes.byteLength !== length)
      throw new AssetError('BAD_INPUT', `Cannot take leaf ${leaf} of ${this.cid}: it has ${bytes.byteLength} bytes, expected ${length}`)
    const pages = this.sums.pages.subarray(leaf * PAGES_PER_LEAF)
    for (let page = 0; page * PAGE < length; page++) pages[page] = crc32(bytes.subarray(page * PAGE, (page + 1) * PAGE))
    try {
      if (!(await this.direct?.write(bytes, leaf * LEAF))) await writeAll(this.partial.handle, bytes, leaf * LEAF)
      await this.notes?.add(leaf)
      this.#count(leaf)
      this.#unsynced += 1
      if (this.#unsynced >= SYNC_AFTER) this.#syncing ??= this.#sync()
      if (this.#failed) throw this.#failed.error
    } catch (error) {
      throw ioError(`write ${this.path}`, error)
    }
  }

  /** What a disk failed to keep may still be read from memory, and would count when it is resumed: so it goes. */
  async #sync(): Promise<void> {
    this.#unsynced = 0
    try {
      await this.partial.handle.datasync()
    } catch (error) {
      this.#failed = { error }
      await removePartial(this.path).catch(() => undefined)
    }
    this.#syncing = undefined
  }

  /**
   * Gives the file, all of whose leaves have arrived, its place in the store; what was there is replaced at once, whoever has it
   * open. Its name is safe when its folder was synced. To be closed all the same.
   * @throws AssetError 'MISSING' where a leaf is missing, 'IO'
   */
  async finish(): Promise<void> {
    if (this.#left > 0) throw new AssetError('MISSING', `Cannot finish ${this.cid}: ${this.#left} of its leaves have not arrived`)
    const key = String(this.cid)
    try {
      await this.#syncing
      await this.#sync()
      if (this.#failed) throw this.#failed.error
      await writeInPlace(this.layout, key, this.layout.sidecar(key), encodeSidecar(this.sums))
      await rename(this.path, this.layout.file(key)).catch(async (error: unknown) => {
        // Another process that fetched it too was faster.
        const isThere = systemCode(error) === 'ENOENT' && (await isStored(this.layout, { cid: this.cid, size: this.sums.size }))
        if (!isThere) throw error
      })
    } catch (error) {
      throw ioError(`write ${key} into the store ${this.layout.root}`, error)
    }
    // Of no use any more; what can't be removed now is swept later.
    for (const path of [this.path, ...(await partialsOf(this.layout, key).catch(() => []))])
      await removePartial(path).catch(() => undefined)
  }

  /** Lets go of it; what has arrived stays for the next time. */
  async close(): Promise<void> {
    await this.#syncing
    await this.notes?.close()
    await this.direct?.close()
    await this.partial.handle.close()
    // A part of a leaf is of no use.
    if (!this.notes && this.#left > 0) await removePartial(this.path).catch(() => undefined)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

function checkSize({ cid, size }: ArrivingId): void {
  if (size > LIMITS.arrivingFile)
    throw new AssetError('LIMIT', `Cannot fetch ${cid}: it has ${size} bytes, the limit is ${LIMITS.arrivingFile}; divide it`)
  if ((cid.code === raw.code) !== size <= LEAF)
    throw new AssetError('BAD_INPUT', `Cannot take ${cid} for a file of ${size} bytes: a single block has at most ${LEAF}`)
}

/** True for the digests of the leaves of a file with this CID and size. */
async function isRight({ cid, size }: ArrivingId, leaves: Uint8Array): Promise<boolean> {
  return leaves.byteLength === leafCount(size) * 32 && (await fileDag({ size, leaves })).cid.equals(cid)
}
