import { lstat, mkdir, stat, utimes } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileDag } from '../asset/dag.js'
import { sumBytes } from '../asset/sums.js'
import { syncFolder } from '../asset/write-asset.js'
import { AssetError, ioError, systemCode } from '../core/errors.js'
import { inLanes } from '../core/lanes.js'
import { moveIn, writeBeside } from './adopt.js'
import { ArrivingFile, type ArrivingId, isStored } from './arriving.js'
import { clear, makeFan, makeStaging, writeSynced } from './durable.js'
import { type Description, describeManifest, manifestFileOf, readEntry, writeEntry } from './entry.js'
import type { StoreLayout } from './layout.js'
import { exclusively } from './lock.js'
import { checkRoom } from './room.js'
import { readSums } from './sidecar.js'
import type { Uses } from './uses.js'

const LOOKUPS_AT_ONCE = 32

/**
 * An asset while it arrives in a store, file by file. What has arrived is kept until the asset is complete, or until it is
 * collected when nobody has gone on for long; while this is open nobody removes any of it.
 */
export class Arrival implements AsyncDisposable {
  private constructor(
    private readonly layout: StoreLayout,
    private readonly key: string,
    readonly described: Description,
    /** true where the store listed it as complete when this began */
    readonly isListed: boolean,
    /** true where nothing was known of it, so that its manifest has just been got */
    readonly isNew: boolean,
    private readonly release: () => Promise<void>,
  ) {}

  /**
   * Begins or resumes. `manifestOf` is asked for the bytes of asset.json, which the caller has compared with a CID, where the store
   * has none that describes this asset.
   * @throws AssetError 'BAD_INPUT' | 'LIMIT' where that is not the manifest of this asset; nothing stays then. 'IO'
   */
  static async begin(layout: StoreLayout, uses: Uses, key: string, manifestOf: () => Promise<Uint8Array>): Promise<Arrival> {
    const release = await uses.mark(key)
    try {
      // Whoever collects what nobody goes on with has done so by now, or sees the mark.
      await exclusively(layout, () => touch(layout.arrival(key)))
      const listed = await readEntry(layout, layout.asset(key), key).catch(unreadable)
      const begun = listed ?? (await readEntry(layout, layout.arrival(key), key).catch(unreadable))
      const described = begun ?? (await enter(layout, key, await manifestOf()))
      return new Arrival(layout, key, described, listed !== undefined, begun === undefined, release)
    } catch (error) {
      await release()
      throw error
    }
  }

  /** True where a file of it is in the store already. */
  has(file: ArrivingId): Promise<boolean> {
    return isStored(this.layout, file)
  }

  /** @throws AssetError 'IO' where the disk has no room for these files */
  checkRoom(files: readonly ArrivingId[]): Promise<void> {
    return checkRoom(this.layout, files)
  }

  /**
   * Begins or resumes one of its files; see {@link ArrivingFile.open}. With `mend` what is right in the damaged file that the store
   * has is taken from there, its leaves' digests too where they are still known.
   */
  async open(file: ArrivingId, digestsOf: () => Promise<Uint8Array>, options: { readonly mend?: boolean } = {}): Promise<ArrivingFile> {
    if (!options.mend) return ArrivingFile.open(this.layout, file, digestsOf)
    const key = String(file.cid)
    const path = this.layout.file(key)
    for (const place of [path, this.layout.sidecar(key)]) await clear(place)
    const sums = await readSums(this.layout, key, file.size)
    const known = sums && (await fileDag(sums)).cid.equals(file.cid) ? sums.leaves : undefined
    const isThere = await lstat(path).then(
      () => true,
      () => false,
    )
    return ArrivingFile.open(this.layout, file, known ? async () => known : digestsOf, isThere ? path : undefined)
  }

  /**
   * Lists the asset among those that are complete.
   * @throws AssetError 'MISSING' where a file has not arrived, 'IO'
   */
  async finish(): Promise<void> {
    const { layout, key, described } = this
    const files = [...described.manifest.files.values(), described.manifestFile]
    await exclusively(layout, async (change) => {
      await inLanes(files, LOOKUPS_AT_ONCE, async (file) => {
        if (!(await isStored(layout, file)))
          throw new AssetError('MISSING', `Cannot complete ${key}: ${file.path} is missing; pull it again`)
      })
      // Those of an arrival that was given up, since this process slept, may be gone.
      for (const { cid, bytes } of described.nodes) {
        const path = layout.node(String(cid))
        if ((await stat(path).catch(() => undefined))?.size === bytes.byteLength) continue
        await makeFan(dirname(path))
        await change.write(path, bytes)
      }
      const places = [...files.map(({ cid }) => layout.file(String(cid))), ...described.nodes.map(({ cid }) => layout.node(String(cid)))]
      await inLanes([...new Set(places.map(dirname)), layout.files, layout.nodes], LOOKUPS_AT_ONCE, syncFolder)
      await writeEntry(change, layout.asset(key), described)
      await syncFolder(layout.assets)
      await change.remove(layout.arrival(key))
    })
  }

  /** Lets go of it; what has arrived stays for the next time. */
  async close(): Promise<void> {
    // Its age counts from now.
    await touch(this.layout.arrival(this.key)).catch(() => undefined)
    await this.release()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/** What is not there or damaged is got anew. */
function unreadable(error: unknown): undefined {
  if (!(error instanceof AssetError)) throw error
}

async function touch(entry: string): Promise<void> {
  const now = new Date()
  await utimes(entry, now, now).catch((error: unknown) => {
    if (systemCode(error) !== 'ENOENT') throw error
  })
}

/** Takes in the manifest and the folder blocks of an asset, and says that the rest is to arrive. */
async function enter(layout: StoreLayout, key: string, bytes: Uint8Array): Promise<Description> {
  const manifestFile = await manifestFileOf(bytes)
  const described = await describeManifest(bytes, manifestFile, `the manifest of ${key}`)
  if (String(described.cid) !== key) {
    const why = `its manifest describes the folder ${described.cid}, so the two disagree`
    throw new AssetError('BAD_INPUT', `Cannot take in ${key}: ${why}; it was not made by "masset", or with another profile`)
  }
  const staging = await makeStaging(layout.staging)
  try {
    const folder = join(staging.path, 'asset')
    await mkdir(folder)
    await writeSynced(join(folder, manifestFile.path), bytes)
    const written = { ...described, files: [{ ...manifestFile, sums: sumBytes(bytes) }] }
    const moves = await writeBeside(written, folder, join(staging.path, 'beside'), layout)
    await exclusively(layout, (change) => moveIn(change, written, moves, layout, layout.arrival(key)))
    return described
  } catch (error) {
    throw ioError(`write into the store ${layout.root}`, error)
  } finally {
    await staging.done()
  }
}
