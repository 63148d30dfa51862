import { randomBytes } from 'node:crypto'
import { access, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { lock } from 'proper-lockfile'
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
import { makeStaging, sweepStaging, syncFoldersOf, writeDurably } from './durable.js'
import { defaultStorePath, StoreLayout } from './layout.js'
import { isMarked, mark } from './marks.js'
import { decodeSidecar, encodeSidecar } from './sidecar.js'

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
  private constructor(readonly layout: StoreLayout) {}

  /** Opens the store at `path`, made where it is missing. @throws AssetError 'IO' */
  static async open(path: string = defaultStorePath()): Promise<Store> {
    const layout = new StoreLayout(path)
    try {
      for (const folder of [layout.assets, layout.pins, layout.staging]) await makeFolder(folder)
    } catch (error) {
      throw ioError(`open the store ${path}`, error)
    }
    await sweepStaging(layout.staging)
    return new Store(layout)
  }

  get path(): string {
    return this.layout.root
  }

  /** True where the asset with this CID is present and complete. */
  has(cid: string): Promise<boolean> {
    return exists(this.layout.asset(String(parseCid(cid))))
  }

  /** Writes a planned asset into the store; files that are there already are kept. Nothing stays of a failed call. */
  write(plan: PlannedAsset, options: LongCall = {}): Promise<WrittenAsset> {
    return this.add((staging) => writeAsset(plan, staging, options))
  }

  /** Takes in an asset that `writeInto` writes into a folder of the store's own; all or nothing. */
  async add(writeInto: (staging: string) => Promise<WrittenAsset>): Promise<WrittenAsset> {
    const staging = await makeStaging(this.layout.staging)
    try {
      const written = await writeInto(staging.path)
      await this.exclusively((checkHeld) => this.adopt(written, staging.path, checkHeld))
      return written
    } finally {
      await staging.done()
    }
  }

  /** Moves verified files in: sums before files, files before nodes, the root's entry last and each step durable. */
  private async adopt({ cid, manifest, files, nodes }: WrittenAsset, staging: string, checkHeld: () => void): Promise<void> {
    const touched: string[] = []
    for (const { path, cid: fileCid, sums } of files) {
      const target = this.layout.file(String(fileCid))
      touched.push(target)
      // A file that is there already is replaced by the same bytes, just verified: that mends a damaged one.
      await mkdir(dirname(target), { recursive: true })
      await writeDurably(`${target}.sums`, encodeSidecar(sums))
      await rename(join(staging, path), target)
    }
    for (const { cid: nodeCid, bytes } of nodes) {
      const target = this.layout.node(String(nodeCid))
      touched.push(target)
      await mkdir(dirname(target), { recursive: true })
      await writeDurably(target, bytes)
    }
    await syncFoldersOf([...touched, ...touched.map((path) => dirname(path)), this.layout.assets])
    const manifestFile = files.find(({ path }) => path === MANIFEST)!
    const entry = { manifest: String(manifestFile.cid), size: manifestFile.size, kind: manifest.kind }
    checkHeld()
    await writeDurably(this.layout.asset(String(cid)), Buffer.from(`${JSON.stringify(entry)}\n`))
    await syncFoldersOf([this.layout.asset(String(cid))])
  }

  /**
   * The manifest of a stored asset, and its own CID, checked against the asset's: the folder that it describes must hash to it.
   * @throws AssetError 'NOT_FOUND' | 'CORRUPT'
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

  /** The sums of a stored file of `size` bytes; undefined where they are missing or damaged. */
  async sums(cid: string, size: number): Promise<FileSums | undefined> {
    const bytes = await readFile(this.layout.sidecar(cid)).catch(() => undefined)
    return bytes && decodeSidecar(bytes, size)
  }

  /** All assets, in the order of their CIDs; damaged ones are left to `verify`. */
  async list(): Promise<StoredAsset[]> {
    const assets: StoredAsset[] = []
    for (const cid of (await readdir(this.layout.assets)).filter(isCid).sort()) {
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

  async unpin(cid: string): Promise<void> {
    await rm(this.layout.pin(String(parseCid(cid))), { force: true })
    await syncFolder(this.layout.pins)
  }

  /**
   * Says that an asset is in use, so that no process removes it, until the call that this resolves to.
   * @throws AssetError 'NOT_FOUND'
   */
  async use(cid: string): Promise<() => Promise<void>> {
    const key = String(parseCid(cid))
    // Looked at first, so that asking for what isn't there waits for nobody.
    if (!(await this.has(key))) throw this.notFound(key)
    try {
      return await this.exclusively(async () => {
        if (!(await this.has(key))) throw this.notFound(key)
        return mark(join(this.layout.uses(key), randomBytes(9).toString('hex')))
      })
    } catch (error) {
      // A store that can't be written to, where nobody removes anything.
      if (error instanceof AssetError && ['EROFS', 'EACCES'].includes(systemCode(error.cause) ?? '')) return async () => undefined
      throw error
    }
  }

  private async isUsed(key: string): Promise<boolean> {
    const marks = await readdir(this.layout.uses(key)).catch(() => [])
    for (const name of marks) if (await isMarked(join(this.layout.uses(key), name.replace(/\.lock$/, '')))) return true
    return false
  }

  private notFound(key: string, cause?: unknown): AssetError {
    return new AssetError(
      'NOT_FOUND',
      `Cannot find ${key} in the store ${this.path}: fragment or pull it first ("masset ls" shows what is there)`,
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
    return this.exclusively(async () => {
      if (await this.isUsed(key))
        throw new AssetError(
          'IN_USE',
          `Cannot remove ${key}: a process is using it; end that first (one that was killed counts for half a minute)`,
        )
      await rm(this.layout.uses(key), { recursive: true, force: true })
      await rm(this.layout.asset(key), { force: true })
      // Else a crash could leave the entry of an asset whose files are gone.
      await syncFolder(this.layout.assets)
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
      return (await sweepFolder(join(this.path, 'files'), needed)) + (await sweepFolder(join(this.path, 'nodes'), needed))
    })
  }

  /**
   * Runs one change of the store at a time, over all processes; a lock whose holder died is taken over. A holder that
   * slept too long finds out by `checkHeld`.
   */
  private async exclusively<T>(change: (checkHeld: () => void) => Promise<T>): Promise<T> {
    const path = join(this.path, 'lock')
    let lost: Error | undefined
    const checkHeld = () => {
      if (lost)
        throw new AssetError('IO', `Cannot change the store ${this.path}: another process took over meanwhile; try again`, { cause: lost })
    }
    const onCompromised = (error: Error) => {
      lost = error
    }
    try {
      await writeFile(path, '', { flag: 'a' })
      const release = await takeLock(path, onCompromised)
      try {
        return await change(checkHeld)
      } finally {
        if (!lost) await release()
      }
    } catch (error) {
      throw ioError(`change the store ${this.path}`, error)
    }
  }
}

/**
 * Waits up to two minutes for another holder; a moment where another took the lock away for stale while it was taken;
 * and for nothing else: a disk that fails must be told of at once.
 */
async function takeLock(path: string, onCompromised: (error: Error) => void): Promise<() => Promise<void>> {
  const attempts = new Map([
    ['ELOCKED', 600],
    ['ENOENT', 5],
  ])
  for (let attempt = 1; ; attempt++) {
    try {
      return await lock(path, { stale: 15_000, onCompromised })
    } catch (error) {
      if (attempt >= (attempts.get(systemCode(error) ?? '') ?? 0)) throw error
      await setTimeout(Math.min(20 * attempt, 200))
    }
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
