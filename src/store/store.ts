import { randomBytes } from 'node:crypto'
import { access, mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fingerprint, Journal } from '../asset/journal.js'
import { linksOf } from '../asset/link.js'
import type { PlannedAsset } from '../asset/model-asset.js'
import { isRemote } from '../asset/pieces.js'
import type { FileSums } from '../asset/sums.js'
import { makeFolder, syncFolder, type WriteOptions, type WrittenAsset, writeAsset } from '../asset/write-asset.js'
import { isCid, parseCid } from '../core/cid.js'
import { AssetError, ioError } from '../core/errors.js'
import { LIMITS } from '../core/limits.js'
import type { LongCall } from '../core/progress.js'
import { moveIn, writeBeside } from './adopt.js'
import { Arrival } from './arrival.js'
import { makeStaging, type Staging, sweepUnmarked } from './durable.js'
import { type Description, readEntry } from './entry.js'
import { type Collected, collectGarbage, type GcOptions } from './gc.js'
import { defaultStorePath, StoreLayout } from './layout.js'
import { readLocations, writeLocations } from './locations.js'
import { exclusively } from './lock.js'
import { removeAsset } from './removal.js'
import { readSums } from './sidecar.js'
import { JOURNAL, openUnfinished } from './unfinished.js'
import { isReadOnly, Uses } from './uses.js'

/** An asset in the store, for listings. */
export interface StoredAsset {
  readonly cid: string
  readonly kind: string
  readonly name?: string
  /** bytes of all its files; files shared with other assets count in each */
  readonly size: number
  readonly pinned: boolean
}

/**
 * Content-addressed files of assets on disk. What is present is complete and was verified when it arrived; several
 * processes may write at once.
 */
export class Store {
  private constructor(
    /** @internal */
    readonly layout: StoreLayout,
    /** @internal */
    readonly uses: Uses = new Uses(layout.uses),
  ) {}

  /** Opens the store at `path`, made where it is missing. @throws AssetError 'NOT_FOUND' | 'IO' */
  static async open(path: string = defaultStorePath()): Promise<Store> {
    const layout = new StoreLayout(path)
    const { arriving, assets, files, nodes, partial, pins, staging, unfinished, uses } = layout
    try {
      for (const folder of [arriving, assets, files, nodes, partial, pins, staging, unfinished, uses]) await makeFolder(folder)
    } catch (error) {
      // What lacks a folder and can't be written to can be read all the same.
      if (!isReadOnly(error) || !(await exists(assets))) throw ioError(`open the store ${path}`, error)
    }
    for (const folder of [staging, uses]) await sweepUnmarked(folder)
    return new Store(layout)
  }

  /** Where it is. */
  get path(): string {
    return this.layout.root
  }

  /** True where the asset with this CID is present and complete. */
  has(cid: string): Promise<boolean> {
    return exists(this.layout.asset(String(parseCid(cid))))
  }

  /**
   * Writes a planned asset into the store; files that are there already are kept. Nothing stays of a failed call, unless bytes
   * come from elsewhere: then the next call goes on with what is written. With `link`, files that can be links are not copied.
   * @internal
   */
  async write(plan: PlannedAsset, { link, ...call }: LongCall & { readonly link?: boolean | undefined } = {}): Promise<WrittenAsset> {
    const options: WriteOptions = { ...call, links: link ? await linksOf(plan.files) : new Map() }
    if (!plan.files.some(isRemote)) return this.add((folder) => writeAsset(plan, folder, options), options)
    const staging = await openUnfinished(this.layout, this.uses, fingerprint(plan.files))
    const journal = await Journal.open(join(staging.path, JOURNAL))
    return this.takeIn(staging, (folder) => writeAsset(plan, folder, { ...options, journal }), options)
  }

  /** Takes in an asset that `writeInto` writes into a folder of the store's own; all or nothing. @internal */
  async add(writeInto: (folder: string) => Promise<WrittenAsset>, options: LongCall = {}): Promise<WrittenAsset> {
    return this.takeIn(await makeStaging(this.layout.staging), writeInto, options)
  }

  private async takeIn(
    staging: Staging & { leave?(): Promise<void> },
    writeInto: (folder: string) => Promise<WrittenAsset>,
    { signal }: LongCall,
  ): Promise<WrittenAsset> {
    let isLeft = staging.leave !== undefined
    try {
      const folder = join(staging.path, 'asset')
      await mkdir(folder, { recursive: true })
      const written = await writeInto(folder)
      const moves = await writeBeside(written, folder, join(staging.path, randomBytes(9).toString('hex')), this.layout, signal)
      await exclusively(this.layout, (change) => moveIn(change, written, moves, this.layout, this.layout.asset(String(written.cid))))
      isLeft = false
      return written
    } catch (error) {
      throw ioError(`write into the store ${this.path}`, error)
    } finally {
      if (isLeft) await staging.leave!()
      else await staging.done()
    }
  }

  /**
   * The manifest of a stored asset, and its own CID, checked against the asset's: the folder that it describes must hash to it.
   * @throws AssetError 'NOT_FOUND' | 'CORRUPT'
   * @internal
   */
  async describe(cid: string): Promise<Description> {
    const key = String(parseCid(cid))
    return readEntry(this.layout, this.layout.asset(key), key).catch((error: AssetError) => {
      throw error.code === 'NOT_FOUND' ? this.notFound(key, error) : error
    })
  }

  /** The sums of a stored file of `size` bytes; undefined where they are missing or damaged. @internal */
  sums(cid: string, size: number): Promise<FileSums | undefined> {
    return readSums(this.layout, cid, size)
  }

  /** All assets, in the order of their CIDs; damaged ones are left to `verify`. @throws AssetError 'NOT_FOUND' | 'IO' where the store is gone */
  async list(): Promise<StoredAsset[]> {
    const assets: StoredAsset[] = []
    const names = await readdir(this.layout.assets).catch((error: unknown) => {
      throw ioError(`list the store ${this.path}`, error)
    })
    for (const cid of names.filter(isCid).sort()) {
      const manifest = await this.describe(cid).then(
        (found) => found.manifest,
        () => undefined,
      )
      const size = manifest ? [...manifest.files.values()].reduce((sum, file) => sum + file.size, 0) : 0
      const pinned = await exists(this.layout.pin(cid))
      assets.push({ cid, kind: manifest?.kind ?? 'damaged', size, pinned, ...(manifest?.name !== undefined && { name: manifest.name }) })
    }
    return assets
  }

  /** Keeps an asset from being removed. @throws AssetError 'NOT_FOUND' */
  async pin(cid: string): Promise<void> {
    const key = String((await this.describe(cid)).cid)
    const pin = this.layout.pin(key)
    // An empty file can't be half-written.
    await writeFile(pin, '', { flag: 'a' }).catch((error: unknown) => {
      throw ioError(`pin ${cid}`, error)
    })
    await syncFolder(this.layout.pins)
    // As in `use`: a removal takes the entry away before it looks for pins.
    if (await this.has(key)) return
    const isThere = await exclusively(this.layout, async () => {
      const found = await this.has(key)
      if (!found) await rm(pin, { force: true })
      return found
    })
    if (!isThere) throw this.notFound(key)
  }

  /** Lets an asset be removed again; one that is not pinned stays as it is. @throws AssetError 'BAD_INPUT' | 'IO' */
  async unpin(cid: string): Promise<void> {
    const pin = this.layout.pin(String(parseCid(cid)))
    try {
      await rm(pin, { force: true })
      await syncFolder(this.layout.pins)
    } catch (error) {
      throw ioError(`unpin ${cid}`, error)
    }
  }

  /** Where an asset, here or not, may be had: what was noted, in the order in which it is tried. @throws AssetError 'CORRUPT' | 'IO' */
  locations(cid: string): Promise<string[]> {
    return readLocations(this.layout, String(parseCid(cid)))
  }

  /** Changes where an asset may be had; resolves to the list as it is then. @throws AssetError 'LIMIT' | 'IO' | 'IN_USE' @internal */
  changeLocations(cid: string, change: (uris: readonly string[]) => readonly string[]): Promise<string[]> {
    const key = String(parseCid(cid))
    return exclusively(this.layout, async (made) => {
      const uris = [...new Set(change(await readLocations(this.layout, key)))]
      if (uris.length > LIMITS.locations)
        throw new AssetError('LIMIT', `Cannot note where ${key} is: that is more than ${LIMITS.locations} places; remove some`)
      await writeLocations(made, this.layout, key, uris)
      return uris
    })
  }

  /**
   * Says that an asset is in use, so that no process removes it, until the call that this resolves to. Waits for nobody,
   * unless the asset is being removed at that moment.
   * @throws AssetError 'NOT_FOUND'
   * @internal
   */
  async use(cid: string): Promise<() => Promise<void>> {
    const key = String(parseCid(cid))
    if (!(await this.has(key))) throw this.notFound(key)
    const release = await this.uses.mark(key)
    // A removal takes the entry away before it looks for marks: an entry that is there now stays. One that has gone comes
    // back if the mark was seen.
    if ((await this.has(key)) || (await exclusively(this.layout, () => this.has(key)))) return release
    await release()
    throw this.notFound(key)
  }

  /** Begins or resumes an asset that arrives from elsewhere; see {@link Arrival.begin}. @internal */
  arrive(cid: string, manifestOf: () => Promise<Uint8Array>): Promise<Arrival> {
    return Arrival.begin(this.layout, this.uses, String(parseCid(cid)), manifestOf)
  }

  private notFound(key: string, cause?: unknown): AssetError {
    return new AssetError(
      'NOT_FOUND',
      `Cannot find ${key} in the store ${this.path}: fragment it, or "masset pull" it, first ("masset ls" shows what is there)`,
      { cause },
    )
  }

  /**
   * Removes an asset, or what has arrived of one that is not complete, and the files that no other asset needs. Resolves to the
   * bytes freed.
   * @throws AssetError 'NOT_FOUND', 'BAD_USAGE' where it is pinned, 'IN_USE' where a process has it open, 'CORRUPT' where what another asset needs can't be known: no file is removed then
   */
  async remove(cid: string): Promise<number> {
    const key = String(parseCid(cid))
    if (!(await this.has(key)) && !(await exists(this.layout.arrival(key))))
      throw new AssetError('NOT_FOUND', `Cannot remove ${key}: it is not in the store ${this.path}`)
    return removeAsset(this.layout, this.uses, key)
  }

  /**
   * Removes whatever no listed asset needs: what crashes left, and assets that did not arrive completely and that nobody has gone on
   * with for long; never what a process uses, writes or pulls. Where it is broken off, the next call does the rest.
   * @throws AssetError 'CORRUPT' where what an asset needs can't be known: no file is removed then; 'IN_USE', 'IO'
   */
  gc(options: GcOptions = {}): Promise<Collected> {
    return collectGarbage(this.layout, this.uses, options)
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
