import { constants, copyFile, mkdir, open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { MANIFEST } from '../asset/manifest.js'
import { type PlannedFile, plannedFile, wholeFile } from '../asset/pieces.js'
import type { AssetFile } from '../asset/sums.js'
import { intoNewFolder, writeAsset } from '../asset/write-asset.js'
import { AssetError, throwIfAborted } from '../core/errors.js'
import { inLanes } from '../core/lanes.js'
import { LEAF } from '../core/limits.js'
import type { LongCall } from '../core/progress.js'
import { readExactly, withFile } from '../core/read.js'
import { sourceFileAt } from '../sources/checkpoint.js'
import { syncFile } from './durable.js'
import { checkCid, checkSize, openAsset } from './open-asset.js'
import { writeAll } from './partial.js'
import { type Place, withPlace } from './place.js'
import type { Store } from './store.js'
import { checkFiles } from './verify.js'

const COPIES_AT_ONCE = 8

/** See `putFolder` in the api. */
export async function putFolder(store: Store, folder: string, options: LongCall = {}): Promise<string> {
  await using asset = await openAsset(folder, async () => store)
  const { files: listed, ...about } = asset.manifest
  const files: PlannedFile[] = []
  for (const file of listed.values()) {
    const source = await sourceFileAt((await asset.placeOf(file)).path)
    checkSize(asset, file, source.size)
    files.push(plannedFile(file.path, [wholeFile(source)]))
  }
  const { cid } = await store.add(async (staging) => {
    const written = await writeAsset({ ...about, files }, staging, options)
    for (const { path, sums } of written.files) if (path !== MANIFEST) await checkCid(asset, listed.get(path)!, sums)
    if (String(written.cid) !== asset.cid)
      throw new AssetError('CORRUPT', `Cannot put ${folder}: its manifest is not written canonically; run "masset seal ${folder}"`)
    return written
  }, options)
  return String(cid)
}

/** See `getFolder` in the api. */
export async function getFolder(store: Store, cid: string, out: string, options: LongCall = {}): Promise<void> {
  await using asset = await openAsset(cid, async () => store)
  const files = [...asset.manifest.files.values(), asset.manifestFile]
  const total = files.reduce((sum, { size }) => sum + size, 0)
  await intoNewFolder(out, async (staging) => {
    const targetOf = (file: AssetFile) => join(staging, file.path)
    for (const folder of new Set(files.map((file) => dirname(targetOf(file))))) await mkdir(folder, { recursive: true })
    let done = 0
    await inLanes(files, COPIES_AT_ONCE, async (file) => {
      throwIfAborted(options.signal, 'copy the asset')
      await copy(await asset.placeOf(file), `${file.path} of ${asset.where}`, targetOf(file))
      done += file.size
      options.onProgress?.({ phase: 'write', done, total })
    })
    for (const sums of (await checkFiles(asset, async (file) => ({ path: targetOf(file) }), options)).values())
      if (sums instanceof AssetError) throw sums
  })
}

async function copy(from: Place, what: string, to: string): Promise<void> {
  if (from.link) await copyLinked(from, what, to)
  // Opened first, since copying what is no file may never end.
  else await withFile(from.path, what, () => copyFile(from.path, to, constants.COPYFILE_FICLONE))
  await syncFile(to)
}

/** Copies header and data into one file. */
async function copyLinked(from: Place, what: string, to: string): Promise<void> {
  await withPlace(from, what, async (opened) => {
    const target = await open(to, 'wx')
    try {
      const buffer = new Uint8Array(Math.min(LEAF, opened.size))
      for (let at = 0; at < opened.size; at += buffer.byteLength) {
        const bytes = buffer.subarray(0, opened.size - at)
        await readExactly(opened, bytes, at, what)
        await writeAll(target, bytes, at)
      }
    } finally {
      await target.close()
    }
  })
}
