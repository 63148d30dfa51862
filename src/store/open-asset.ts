import { stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { fileDag } from '../asset/dag.js'
import { MANIFEST, type Manifest } from '../asset/manifest.js'
import { type AssetFile, type FileSums, Summer, sumBytes } from '../asset/sums.js'
import { isCid, parseCid } from '../core/cid.js'
import { AssetError } from '../core/errors.js'
import { LEAF, LIMITS } from '../core/limits.js'
import { readExactly, readSmallFile, readWhole } from '../core/read.js'
import type { Arriving } from './arriving-asset.js'
import { describeManifest, manifestFileOf } from './entry.js'
import { FragmentFile } from './fragment-file.js'
import { type Place, placeIn, withPlace } from './place.js'
import type { Store } from './store.js'

/** An asset that can be read, wherever its files are. */
export interface OpenAsset extends AsyncDisposable {
  /** the CID of the folder, as its manifest describes it */
  readonly cid: string
  readonly manifest: Manifest
  /** the manifest's own file */
  readonly manifestFile: AssetFile
  /** for messages: the CID, or the path of the folder */
  readonly where: string
  /** the store that it is in; undefined for a folder */
  readonly store: Store | undefined
  /** where a file is on disk @throws AssetError 'CORRUPT' | 'IO' */
  placeOf(file: AssetFile): Promise<Place>
  /** a whole file of at most `limit` bytes, verified against its CID */
  readFile(path: string, limit?: number): Promise<Uint8Array<ArrayBuffer>>
  /** a file for reading by ranges, every page verified */
  open(path: string): Promise<Pick<FragmentFile, 'read' | 'close'>>
  /** the checksums of a file's pages; where there are none beside it, it is verified against its CID first */
  pages(path: string): Promise<Uint32Array>
  /** its files that are not there yet, where it arrives */
  readonly arriving?: Arriving
  /** lets go of it: until then no process removes it from its store */
  close(): Promise<void>
}

/** What is known of an asset without reading its files. */
export type AssetFacts = Omit<OpenAsset, 'readFile' | 'open' | 'pages' | typeof Symbol.asyncDispose>

/**
 * Opens an asset by CID from the store, or by the path of an asset folder. Close it when done.
 * @throws AssetError 'NOT_FOUND' | 'BAD_INPUT' | 'CORRUPT'
 */
export async function openAsset(cidOrPath: string, getStore: () => Promise<Store>): Promise<OpenAsset> {
  const folder = await stat(cidOrPath).catch(() => undefined)
  if (folder === undefined && isCid(cidOrPath)) return openStored(String(parseCid(cidOrPath)), await getStore())
  if (!folder?.isDirectory()) {
    throw new AssetError(
      'NOT_FOUND',
      `Cannot open ${cidOrPath}: it is neither the CID of an asset nor a folder; check the path ("masset ls" shows the CIDs)`,
    )
  }
  return openFolder(resolve(cidOrPath))
}

async function openStored(cid: string, store: Store): Promise<OpenAsset> {
  const close = await store.use(cid)
  try {
    const { manifest, manifestFile } = await store.describe(cid)
    const placeOf = (file: AssetFile) => placeIn(store.layout, file)
    return assetReader({ cid, manifest, manifestFile, where: cid, store, placeOf, close })
  } catch (error) {
    await close()
    throw error
  }
}

async function openFolder(folder: string): Promise<OpenAsset> {
  const bytes = await readSmallFile(join(folder, MANIFEST), LIMITS.json).catch((error: AssetError) => {
    if (error.code !== 'NOT_FOUND') throw error
    throw new AssetError(
      'NOT_FOUND',
      `Cannot open ${folder}: it has no ${MANIFEST}; if it is a checkpoint, run "masset fragment ${folder} --store" first`,
      { cause: error },
    )
  })
  const { cid, manifest, manifestFile } = await describeManifest(bytes, await manifestFileOf(bytes), join(folder, MANIFEST))
  return assetReader({
    cid: String(cid),
    manifest,
    manifestFile,
    where: folder,
    store: undefined,
    placeOf: async (file) => ({ path: join(folder, file.path) }),
    close: async () => undefined,
  })
}

/** Reads the files of an asset, each verified. */
export function assetReader(asset: AssetFacts): OpenAsset {
  const fileAt = (path: string): AssetFile => {
    const file = asset.manifest.files.get(path)
    if (!file) throw new AssetError('MISSING', `Cannot read ${path} of ${asset.where}: the asset has no such file`)
    return file
  }
  const verified = new Map<string, Promise<FileSums>>()
  // A folder has no checksums beside its files, and sums in the store may be lost: then the file is hashed once, before its first use.
  const sumsOf = (file: AssetFile): Promise<FileSums> => {
    const known = verified.get(file.path)
    if (known) return known
    const sums = sumsOfFile(asset, file)
    verified.set(file.path, sums)
    // One that failed is looked at again: the file may have been mended.
    sums.catch(() => verified.delete(file.path))
    return sums
  }
  return {
    ...asset,
    [Symbol.asyncDispose]: asset.close,
    async readFile(path, limit = LIMITS.json) {
      const file = fileAt(path)
      const what = `${path} of ${asset.where}`
      const bytes = await withPlace(await asset.placeOf(file), what, (opened) => readWhole(opened, opened.size, limit, what))
      await checkCid(asset, file, sumBytes(bytes))
      return bytes
    },
    async pages(path) {
      return (await sumsOf(fileAt(path))).pages
    },
    async open(path) {
      const file = fileAt(path)
      const { pages } = await sumsOf(file)
      return FragmentFile.open(await asset.placeOf(file), `${path} of ${asset.where}`, file.size, pages)
    },
  }
}

/**
 * What is known of a file's bytes: what was kept beside it, else hashed now.
 * @throws AssetError 'CORRUPT' where it is hashed and is not what its CID says, 'NOT_FOUND' | 'IO'
 */
export async function sumsOfFile(asset: Pick<AssetFacts, 'store' | 'placeOf' | 'where'>, file: AssetFile): Promise<FileSums> {
  const kept = await asset.store?.sums(String(file.cid), file.size)
  if (kept) return kept
  const what = `${file.path} of ${asset.where}`
  return withPlace(await asset.placeOf(file), what, async (opened) => {
    checkSize(asset, file, opened.size)
    const summer = new Summer()
    const buffer = new Uint8Array(Math.min(LEAF, file.size))
    for (let at = 0; at < file.size; at += buffer.byteLength) {
      const bytes = buffer.subarray(0, file.size - at)
      await readExactly(opened, bytes, at, what)
      summer.update(bytes)
    }
    const sums = summer.finish()
    await checkCid(asset, file, sums)
    return sums
  })
}

/** @throws AssetError 'CORRUPT' where a file that should be this one has another size */
export function checkSize(asset: Pick<OpenAsset, 'where'>, file: AssetFile, size: number): void {
  if (size !== file.size) throw damaged(asset, file, `it has ${size} bytes, expected ${file.size}`)
}

/** @throws AssetError 'CORRUPT' where the bytes are not those of the CID */
export async function checkCid(asset: Pick<OpenAsset, 'where'>, file: AssetFile, sums: FileSums): Promise<void> {
  checkSize(asset, file, sums.size)
  const { cid } = await fileDag(sums)
  if (!cid.equals(file.cid)) throw damaged(asset, file, `its content is ${cid}, expected ${file.cid}`)
}

function damaged(asset: Pick<OpenAsset, 'where'>, file: AssetFile, why: string): AssetError {
  return new AssetError('CORRUPT', `Cannot read ${file.path} of ${asset.where}: it is damaged (${why}); get the asset again`)
}
