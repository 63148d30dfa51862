import { mkdir, readdir, rename, rm, rmdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { AssetError } from '../core/errors.js'
import type { LongCall } from '../core/progress.js'
import { listFiles, readExactly, withFile } from '../core/read.js'
import { type Checkpoint, sourceFile, type TensorRef } from '../sources/checkpoint.js'
import { copiedFiles } from '../sources/hf.js'
import { readSafetensorsHeader } from '../sources/safetensors.js'
import { hashFiles, writeFiles } from './file-pool.js'
import { layoutFragment } from './fragment-codec.js'
import { MANIFEST } from './manifest.js'
import { planModelAsset } from './model-asset.js'
import { moduleTree } from './module-tree.js'
import type { PlannedFile } from './pieces.js'
import { makeFolder, sealAsset, syncFolder, type WrittenAsset, withStaging } from './write-asset.js'

/**
 * Makes an asset of a folder that holds canonical fragments under `modules/` and the copied files: checks every
 * fragment's bytes, path and names, writes the index, the graph where the family is known, and the manifest. Copies of
 * tied tensors go: whoever wrote the fragments need not know which family ties what.
 * @throws AssetError 'BAD_INPUT' for a fragment that is not canonical or lies where its tensors don't belong.
 */
export async function sealFolder(folder: string, options: LongCall & { name?: string | undefined } = {}): Promise<WrittenAsset> {
  const paths = await listFiles(folder)
  const tensors = new Map<string, TensorRef>()
  for (const path of paths.filter((path) => path.startsWith('modules/'))) await readFragment(folder, path, tensors)
  const copies = await copiedFiles(folder)
  const checkpoint: Checkpoint = { folder, tensors, copies }
  const plan = await planModelAsset(checkpoint, options)
  checkPlaces(checkpoint)
  // What lies there already is only hashed; the rest (index, graph, fragments that lose a tied copy) is written.
  const held = tensorsHeld(checkpoint)
  const isPresent = (file: PlannedFile) => copies.has(file.path) || isWhole(file, folder, held)
  const present = plan.files.filter(isPresent)
  const made = plan.files.filter((file) => !isPresent(file))
  const hashed = await hashFiles(folder, present, options)
  return withStaging(folder, async (staging) => {
    for (const { path } of made) await mkdir(dirname(join(staging, path)), { recursive: true })
    const written = await writeFiles(made, (path) => join(staging, path), options)
    const asset = await sealAsset(plan, [...hashed, ...written], staging)
    // Each takes the place of an older one at once, whoever has that open; the manifest last.
    for (const path of [...made.map(({ path }) => path), MANIFEST]) {
      await makeFolder(dirname(join(folder, path)))
      await rename(join(staging, path), join(folder, path))
      await syncFolder(dirname(join(folder, path)))
    }
    const planned = new Set(plan.files.map(({ path }) => path))
    for (const path of paths) if (held.has(join(folder, path)) && !planned.has(path)) await removeFragment(folder, path)
    return asset
  })
}

/** How many tensors each fragment holds, by its path on disk. */
function tensorsHeld({ tensors }: Checkpoint): ReadonlyMap<string, number> {
  const held = new Map<string, number>()
  for (const { file } of tensors.values()) held.set(file.path, (held.get(file.path) ?? 0) + 1)
  return held
}

/** True for a fragment that lies where it is planned, with all of its tensors. */
function isWhole({ path, parts }: PlannedFile, folder: string, held: ReadonlyMap<string, number>): boolean {
  const place = join(folder, path)
  const sources = parts.flatMap((part) => ('source' in part ? [part.source.file.path] : []))
  return sources.length === held.get(place) && sources.every((source) => source === place)
}

/** Removes a fragment, and the folders that it leaves empty, which would be a part of the folder's CID elsewhere. */
async function removeFragment(folder: string, path: string): Promise<void> {
  await rm(join(folder, path))
  for (let above = dirname(path); above !== '.'; above = dirname(above)) {
    if ((await readdir(join(folder, above))).length > 0) return syncFolder(join(folder, above))
    await rmdir(join(folder, above))
  }
}

async function readFragment(folder: string, path: string, tensors: Map<string, TensorRef>): Promise<void> {
  const place = join(folder, path)
  await withFile(place, place, async (handle, facts) => {
    const file = sourceFile(place, facts)
    const header = await readSafetensorsHeader(handle, file.size, path)
    const layout = layoutFragment([...header.tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape })))
    const found = new Uint8Array(Math.min(layout.header.byteLength, file.size))
    await readExactly(handle, found, 0, path)
    if (layout.size !== file.size || Buffer.compare(found, layout.header) !== 0) {
      throw new AssetError(
        'BAD_INPUT',
        `Cannot seal ${path}: it is safetensors but not a canonical fragment; let "masset fragment" write it`,
      )
    }
    for (const [name, tensor] of header.tensors) {
      if (tensors.has(name))
        throw new AssetError('BAD_INPUT', `Cannot seal ${path}: tensor ${JSON.stringify(name)} is in ${tensors.get(name)!.file.path} too`)
      tensors.set(name, { ...tensor, file })
    }
  })
}

function checkPlaces({ folder, tensors }: Checkpoint): void {
  for (const module of moduleTree(tensors.keys())) {
    for (const name of module.tensors) {
      const expected = join(folder, module.path)
      const found = tensors.get(name)!.file.path
      if (found !== expected)
        throw new AssetError('BAD_INPUT', `Cannot seal ${found}: tensor ${JSON.stringify(name)} belongs into ${module.path}`)
    }
  }
}
