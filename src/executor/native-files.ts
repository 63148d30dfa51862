import { AssetError } from '../core/errors.js'
import type { Program } from '../engines/native/program.js'
import type { NativeFile } from '../engines/native/spec.js'
import type { GraphIndex } from '../graph/cut.js'
import { shown } from '../graph/names.js'
import type { OpenAsset } from '../store/open-asset.js'

/** The fragments that hold a program's weights, and the checksums of all pages of those that are there. */
export async function openFiles(
  asset: OpenAsset,
  index: GraphIndex,
  program: Program,
): Promise<{ files: Map<string, NativeFile>; sums: Uint32Array }> {
  const files = new Map<string, NativeFile>()
  const tables: Uint32Array[] = []
  let pages = 0
  for (const name of [...program.vectors, ...program.matrices, ...program.scales.values()]) {
    const { location, offset, length } = index.weights.get(name)!.data
    const file = asset.manifest.files.get(location)
    if (!file || offset + length > file.size)
      throw new AssetError(
        'BAD_INPUT',
        `Cannot run ${asset.where}: its graph looks for ${shown(name)} in ${shown(location)}, where it isn't`,
      )
    if (files.has(location)) continue
    const isComing = asset.arriving?.isComing(String(file.cid)) ?? false
    const sums = isComing ? new Uint32Array(0) : await asset.pages(location)
    const { path, link } = await asset.placeOf(file)
    const linked = link && { begin: link.header.byteLength, offset: link.offset, size: link.source.size }
    files.set(location, { key: String(file.cid), path, size: file.size, firstSum: pages, ...(linked && { linked }) })
    tables.push(sums)
    pages += sums.length
  }
  const sums = new Uint32Array(pages)
  let at = 0
  for (const table of tables) {
    sums.set(table, at)
    at += table.length
  }
  return { files, sums }
}

/** Paths of the store say nothing to people: a message names files as the asset does. What it is linked to is what people have. */
export function nameFiles(message: string, files: ReadonlyMap<string, NativeFile>, where: string): string {
  for (const [location, { path, linked }] of files) {
    if (!message.includes(path)) continue
    if (!linked) return message.replaceAll(path, `${location} of ${where}`)
    return `${message}; ${where} is linked to that file, which has to stay as it was: put it back, or fragment the checkpoint again`
  }
  return message
}
