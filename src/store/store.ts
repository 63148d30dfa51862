import { randomBytes } from 'node:crypto'
import { access, mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type DagNode, fileDag, folderDag } from '../asset/dag.js'
import { decodeManifest, MANIFEST, type Manifest } from '../asset/manifest.js'
import type { PlannedAsset } from '../asset/model-asset.js'
import { type AssetFile, type FileSums, sumBytes } from '../asset/sums.js'
import { makeFolder, syncFolder, type WrittenAsset, writeAsset } from '../asset/write-asset.js'
import { isCid, parseCid } from '../core/cid.js'
import { AssetError, ioError, systemCode } from '../core/errors.js'
import { LIMITS } from '../core/limits.js'
import type { LongCall } from '../core/progress.js'
import { readSmallFile } from '../core/read.js'
import { moveIn, writeBeside } from './adopt.js'
import { makeStaging, sweepUnmarked } from './durable.js'
import { defaultStorePath, StoreLayout } from './layout.js'
import { exclusively } from './lock.js'
import { isMarked, mark } from './marks.js'
import { decodeSidecar, sidecarSize } from './sidecar.js'

/** An asset in the store, for listings. */
export interface StoredAsset {
  readonly cid: string
  readonly kind: string
  readonly name?: string
  /** bytes of all its files; files shared with other assets count in each */
  readonly size: number
  readonly pinned: boolean
}

/** What a stored asset is: its manifest, that manifest's own file, and its folder blocks. */
export interface Description {
  readonly manifest: Manifest
  readonly manifestFile: AssetFile
  readonly nodes: readonly DagNode[]
}

/**
 * Content-addressed files of assets on disk. What is present is complete and was verified when it arrived; several
 * processes may write at once.
 */
export class Store {
  private constructor(
    /** @internal */
    readonly layout: StoreLayout,
  ) {}

  /** Opens the store at `path`, made where it is missing. @throws AssetError 'NOT_FOUND' | 'IO' */
  static async open(path: string = defaultStorePath()): Promise<Store> {
    const layout = new StoreLayout(path)
    const { assets, files, nodes, pins, staging, uses } = layout
    try {
      for (const folder of [assets, files, nodes, pins, staging, uses]) await makeFolder(folder)
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

  /** Writes a planned asset into the store; files that are there already are kept. Nothing stays of a failed call. @internal */
  write(plan: PlannedAsset, options: LongCall = {}): Promise<WrittenAsset> {
    return this.add((folder) => writeAsset(plan, folder, options), options)
  }

  /** Takes in an asset that `writeInto` writes into a folder of the store's own; all or nothing. @internal */
  async add(writeInto: (folder: string) => Promise<WrittenAsset>, { signal }: LongCall = {}): Promise<WrittenAsset> {
    const staging = await makeStaging(this.layout.staging)
    try {
      const folder = join(staging.path, 'asset')
      await mkdir(folder)
      const written = await writeInto(folder)
      const moves = await writeBeside(written, folder, join(staging.path, 'beside'), this.layout, signal)
      await exclusively(this.path, (checkHeld) => moveIn(written, moves, this.layout, checkHeld))
      return written
    } catch (error) {
      throw ioError(`write into the store ${this.path}`, error)
    } finally {
      await staging.done()
    }
  }

  /**
   * The manifest of a stored asset, and its own CID, checked against the asset's: the folder that it describes must hash to it.
   * @throws AssetError 'NOT_FOUND' | 'CORRUPT'
   * @internal
   */
  async describe(cid: string): Promise<Description> {
    const key = String(parseCid(cid))
    const entry = await readSmallFile(this.layout.asset(key), 4096).catch((error: AssetError) => {
      if (error.code !== 'NOT_FOUND') throw error
      throw this.notFound(key, error)
    })
    try {
      const manifestCid = parseCid(String(JSON.parse(Buffer.from(entry).toString('utf8')).manifest))
      const bytes = await readSmallFile(this.layout.file(String(manifestCid)), LIMITS.json)
      const found = (await fileDag(sumBytes(bytes))).cid
      if (!found.equals(manifestCid)) throw new AssetError('CORRUPT', `its manifest is ${found}, expected ${manifestCid}`)
      const manifest = decodeManifest(bytes, `the manifest of ${key}`)
      const manifestFile = { path: MANIFEST, cid: manifestCid, size: bytes.byteLength }
      const root = await folderDag([...manifest.files.values(), manifestFile])
      if (String(root.cid) !== key) throw new AssetError('CORRUPT', `it describes ${root.cid}`)
      return { manifest, manifestFile, nodes: root.nodes }
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause)
      throw new AssetError(
        'CORRUPT',
        `Cannot open ${key}: its entry in the store ${this.path} is damaged (${why}); run "masset rm ${key}" and add it again`,
        { cause },
      )
    }
  }

  /** The sums of a stored file of `size` bytes; undefined where they are missing or damaged. @internal */
  async sums(cid: string, size: number): Promise<FileSums | undefined> {
    const bytes = await readSmallFile(this.layout.sidecar(cid), sidecarSize(size)).catch(() => undefined)
    return bytes && decodeSidecar(bytes, size)
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
    await this.describe(cid)
    // An empty file can't be half-written.
    await writeFile(this.layout.pin(cid), '', { flag: 'a' }).catch((error: unknown) => {
      throw ioError(`pin ${cid}`, error)
    })
    await syncFolder(this.layout.pins)
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

  /**
   * Says that an asset is in use, so that no process removes it, until the call that this resolves to. Waits for nobody,
   * unless the asset is being removed at that moment.
   * @throws AssetError 'NOT_FOUND'
   * @internal
   */
  async use(cid: string): Promise<() => Promise<void>> {
    const key = String(parseCid(cid))
    if (!(await this.has(key))) throw this.notFound(key)
    const release = await this.markUse(key)
    // A removal takes the entry away before it looks for marks: an entry that is there now stays. One that has gone comes
    // back if the mark was seen.
    if ((await this.has(key)) || (await exclusively(this.path, () => this.has(key)))) return release
    await release()
    throw this.notFound(key)
  }

  private async markUse(key: string): Promise<() => Promise<void>> {
    try {
      await makeFolder(this.layout.uses)
      return await mark(join(this.layout.uses, `${key}-${randomBytes(9).toString('hex')}`))
    } catch (error) {
      // In a store that can't be written to nobody removes anything.
      if (isReadOnly(error)) return async () => undefined
      throw error
    }
  }

  private async isUsed(key: string): Promise<boolean> {
    for (const name of await readdir(this.layout.uses))
      if (name.startsWith(`${key}-`) && (await isMarked(join(this.layout.uses, name.replace(/\.lock$/, ''))))) return true
    return false
  }

  private notFound(key: string, cause?: unknown): AssetError {
    return new AssetError(
      'NOT_FOUND',
      `Cannot find ${key} in the store ${this.path}: fragment it first ("masset ls" shows what is there)`,
      { cause },
    )
  }

  /**
   * Removes an asset and the files that no other asset needs. Resolves to the bytes freed.
   * @throws AssetError 'NOT_FOUND', 'BAD_USAGE' where it is pinned, 'IN_USE' where a process has it open, 'CORRUPT' where what another asset needs can't be known: no file is removed then
   */
  async remove(cid: string): Promise<number> {
    const key = String(parseCid(cid))
    if (!(await this.has(key))) throw new AssetError('NOT_FOUND', `Cannot remove ${key}: it is not in the store ${this.path}`)
    if (await exists(this.layout.pin(key))) throw new AssetError('BAD_USAGE', `Cannot remove ${key}: it is pinned; unpin it first`)
    return exclusively(this.path, async () => {
      await this.takeAway(key)
      const needed = new Set<string>()
      for (const other of await readdir(this.layout.assets)) {
        // Entries are written under the lock that is held here: a temporary one is what a killed writer left.
        if (!isCid(other)) {
          await rm(this.layout.asset(other), { force: true })
          continue
        }
        const { manifest, manifestFile, nodes } = await this.describe(other)
        for (const { cid: needs } of [...manifest.files.values(), manifestFile, ...nodes]) needed.add(String(needs))
      }
      return (await sweepFolder(this.layout.files, needed)) + (await sweepFolder(this.layout.nodes, needed))
    })
  }

  /** Takes the entry of an asset away for good, but for one that is in use. A crash on the way leaves it away. */
  private async takeAway(key: string): Promise<void> {
    const inUse = new AssetError(
      'IN_USE',
      `Cannot remove ${key}: a process is using it; end that first (one that was killed counts for half a minute)`,
    )
    // Looked at before too: mostly that is enough, and whoever asks for it now need not wait.
    if (await this.isUsed(key)) throw inUse
    const [entry, aside] = [this.layout.asset(key), `${this.layout.asset(key)}.removing`]
    const taken = await rename(entry, aside).then(
      () => true,
      (error: unknown) => {
        if (systemCode(error) !== 'ENOENT') throw error
        return false
      },
    )
    // Else a crash could leave the entry of an asset whose files are gone.
    await syncFolder(this.layout.assets)
    if (!taken || !(await this.isUsed(key))) return
    await rename(aside, entry)
    await syncFolder(this.layout.assets)
    throw inUse
  }
}

async function sweepFolder(folder: string, needed: ReadonlySet<string>): Promise<number> {
  let freed = 0
  for (const fan of await readdir(folder).catch(() => [])) {
    for (const name of await readdir(join(folder, fan))) {
      if (needed.has(name.replace(/\.sums$/, ''))) continue
      const path = join(folder, fan, name)
      freed += (await stat(path)).size
      await rm(path, { force: true })
    }
  }
  return freed
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

/** True where the system says, in an error or beneath one, that this process may not write there. */
function isReadOnly(error: unknown): boolean {
  const code = systemCode(error instanceof AssetError ? error.cause : error)
  return code === 'EROFS' || code === 'EACCES' || code === 'EPERM'
}
