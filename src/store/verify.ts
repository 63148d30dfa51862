import { sumFiles } from '../asset/file-pool.js'
import type { ExpectedFile } from '../asset/file-worker.js'
import { MANIFEST } from '../asset/manifest.js'
import type { AssetFile, FileSums } from '../asset/sums.js'
import { AssetError } from '../core/errors.js'
import type { LongCall } from '../core/progress.js'
import { listFiles, readSmallFile } from '../core/read.js'
import { checkCid, type OpenAsset } from './open-asset.js'
import type { Place } from './place.js'
import type { Store } from './store.js'

/** What `verify` found: files read, bytes read, and one line per damage (none: all is well). */
export interface Verification {
  readonly cid: string
  readonly files: number
  readonly bytes: number
  readonly damage: readonly string[]
}

/** The sums of all files of an asset, read where `placeOf` says; an error for each that is not what its CID says. */
export async function checkFiles(
  asset: OpenAsset,
  placeOf: (file: AssetFile) => Promise<Place>,
  options: LongCall,
): Promise<Map<AssetFile, FileSums | AssetError>> {
  const files = [...asset.manifest.files.values(), asset.manifestFile]
  const expected: ExpectedFile[] = []
  const lost = new Map<AssetFile, AssetError>()
  for (const file of files) {
    // A link that makes no sense.
    const place = await placeOf(file).catch((error: AssetError) => void lost.set(file, error))
    if (place) expected.push({ ...place, what: `${file.path} of ${asset.where}`, size: file.size })
  }
  const found = (await sumFiles(expected, options)).values()
  const checked = new Map<AssetFile, FileSums | AssetError>()
  for (const file of files) {
    const sums = lost.get(file) ?? found.next().value!
    const right = async (sums: FileSums) => checkCid(asset, file, sums).then(() => sums)
    checked.set(file, sums instanceof AssetError ? sums : await right(sums).catch((error: AssetError) => error))
  }
  return checked
}

/** Reads every byte of an asset and compares it with its CIDs; in the store also the checksums beside the files and the blocks of its folders, in a folder also that nothing else is there. */
export async function verifyAsset(asset: OpenAsset, options: LongCall = {}): Promise<Verification> {
  const { store } = asset
  const damage: string[] = []
  const checked = await checkFiles(asset, asset.placeOf, options)
  let bytes = 0
  for (const [file, sums] of checked) {
    if (sums instanceof AssetError) {
      damage.push(sums.message)
      continue
    }
    bytes += sums.size
    const kept = await store?.sums(String(file.cid), file.size)
    if (store && !(kept && sameSums(kept, sums)))
      damage.push(`Cannot trust the checksums beside ${file.path} of ${asset.where}: they are missing or damaged; add the asset again`)
  }
  const around = store ? await damagedNodes(asset.cid, store) : await strangers(asset)
  return { cid: asset.cid, files: checked.size, bytes, damage: [...damage, ...around] }
}

async function damagedNodes(cid: string, store: Store): Promise<string[]> {
  const damage: string[] = []
  for (const node of (await store.describe(cid)).nodes) {
    const bytes = await readSmallFile(store.layout.node(String(node.cid)), node.bytes.byteLength).catch(() => undefined)
    if (!bytes || Buffer.compare(bytes, node.bytes) !== 0)
      damage.push(`Cannot trust the folder block ${node.cid} of ${cid}: it is missing or damaged; add the asset again`)
  }
  return damage
}

async function strangers(asset: OpenAsset): Promise<string[]> {
  return (await listFiles(asset.where))
    .filter((path) => path !== MANIFEST && !asset.manifest.files.has(path))
    .map((path) => `Cannot find ${path} of ${asset.where} in its manifest: it is not part of the asset; remove it`)
}

export function sameSums(a: FileSums, b: FileSums): boolean {
  return (
    Buffer.compare(a.leaves, b.leaves) === 0 && a.pages.length === b.pages.length && a.pages.every((crc, page) => crc === b.pages[page])
  )
}
