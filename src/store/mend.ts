import { dirname } from 'node:path'
import { fileDag } from '../asset/dag.js'
import { sumFiles } from '../asset/file-pool.js'
import type { ExpectedFile } from '../asset/file-worker.js'
import type { AssetFile, FileSums } from '../asset/sums.js'
import { syncFolder } from '../asset/write-asset.js'
import { AssetError } from '../core/errors.js'
import type { LongCall } from '../core/progress.js'
import { readSmallFile } from '../core/read.js'
import { clear } from './durable.js'
import type { Description } from './entry.js'
import type { StoreLayout } from './layout.js'
import { writeInPlace } from './partial.js'
import { placeIn } from './place.js'
import { encodeSidecar } from './sidecar.js'
import type { Store } from './store.js'
import { sameSums } from './verify.js'

/** What was found when an asset of a store was read to mend it. */
export interface Found {
  /** files whose bytes are damaged or gone: parts of them have to be fetched */
  readonly damaged: readonly AssetFile[]
  /** what was made anew from what is right, one line each */
  readonly mended: readonly string[]
}

/**
 * Reads every file of an asset, and replaces the checksums and folder blocks that are damaged: these follow from what is right.
 * Each is replaced at once, so others may read meanwhile.
 * @throws AssetError 'IO', 'ABORTED'
 */
export async function mendFromWithin(store: Store, { manifest, manifestFile, nodes }: Description, options: LongCall = {}): Promise<Found> {
  const { layout } = store
  const files = [...new Map([manifestFile, ...manifest.files.values()].map((file) => [String(file.cid), file])).values()]
  const expected: ExpectedFile[] = []
  for (const file of files) {
    // A link that can't be read is as a file that is not there.
    const place = await placeIn(layout, file).catch(() => ({ path: layout.file(String(file.cid)) }))
    expected.push({ ...place, what: file.path, size: file.size })
  }
  const sums = await sumFiles(expected, options)
  const damaged: AssetFile[] = []
  const mended: string[] = []
  for (const [at, file] of files.entries()) {
    const found = sums[at]!
    if (found instanceof AssetError || !(await fileDag(found)).cid.equals(file.cid)) damaged.push(file)
    else if (await mendSums(store, file, found)) mended.push(`the checksums of ${file.path}`)
  }
  for (const { cid, bytes } of nodes) {
    const path = layout.node(String(cid))
    const kept = await readSmallFile(path, bytes.byteLength).catch(() => undefined)
    if (kept && Buffer.compare(kept, bytes) === 0) continue
    await replace(layout, String(cid), path, bytes)
    mended.push(`the folder block ${cid}`)
  }
  return { damaged, mended }
}

async function mendSums(store: Store, { cid, size }: AssetFile, found: FileSums): Promise<boolean> {
  const kept = await store.sums(String(cid), size)
  if (kept && sameSums(kept, found)) return false
  await replace(store.layout, String(cid), store.layout.sidecar(String(cid)), encodeSidecar(found))
  return true
}

async function replace(layout: StoreLayout, cid: string, path: string, bytes: Uint8Array): Promise<void> {
  await clear(path)
  await writeInPlace(layout, cid, path, bytes)
  await syncFolder(dirname(path))
}
