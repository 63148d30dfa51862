import { constants, copyFile, mkdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { MANIFEST } from '../asset/manifest.js'
import { type PlannedFile, plannedFile } from '../asset/pieces.js'
import { intoNewFolder, writeAsset } from '../asset/write-asset.js'
import { AssetError, ioError } from '../core/errors.js'
import type { LongCall } from '../core/progress.js'
import { sourceFile } from '../sources/checkpoint.js'
import { syncFile } from './durable.js'
import { checkCid, openAsset } from './open-asset.js'
import type { Store } from './store.js'

/**
 * Puts an asset folder into the store, hashed on the way; it must be what its manifest says. Resolves to its CID.
 * @throws AssetError 'NOT_FOUND', 'CORRUPT' where a file is not the one that the manifest lists; nothing stays then
 */
export async function putFolder(store: Store, folder: string, options: LongCall = {}): Promise<string> {
  await using asset = await openAsset(folder, async () => store)
  const { files: listed, ...about } = asset.manifest
  const files: PlannedFile[] = []
  for (const file of listed.values()) {
    const path = asset.pathOf(file)
    const source = sourceFile(
      path,
      await stat(path).catch((error: unknown) => {
        throw ioError(`read ${path}`, error)
      }),
    )
    files.push(plannedFile(file.path, [{ file: source, offset: 0, length: source.size }]))
  }
  const { cid } = await store.add(async (staging) => {
    const written = await writeAsset({ ...about, files }, staging, options)
    for (const { path, sums } of written.files) if (path !== MANIFEST) await checkCid(asset, listed.get(path)!, sums)
    if (String(written.cid) !== asset.cid)
      throw new AssetError('CORRUPT', `Cannot put ${folder}: its manifest is not written canonically; run "masset seal ${folder}"`)
    return written
  })
  return String(cid)
}

/**
 * Gets an asset out of the store as a new folder: files cloned where the file system can (reflink), else copied; never
 * links, which ONNX Runtime refuses.
 * @throws AssetError 'NOT_FOUND', 'BAD_USAGE' where the folder exists and is not empty, 'IO'; nothing half-written stays
 */
export async function getFolder(store: Store, cid: string, out: string): Promise<void> {
  await using asset = await openAsset(cid, async () => store)
  const files = [...asset.manifest.files.values(), asset.manifestFile]
  await intoNewFolder(out, async (staging) => {
    for (const file of files) {
      const target = join(staging, file.path)
      await mkdir(dirname(target), { recursive: true })
      await copyFile(asset.pathOf(file), target, constants.COPYFILE_FICLONE)
      await syncFile(target)
    }
  })
}
