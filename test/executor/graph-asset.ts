import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileDag } from '../../src/asset/dag.js'
import { encodeManifest } from '../../src/asset/manifest.js'
import { sumBytes } from '../../src/asset/sums.js'

/** An asset folder of one graph and the files that its weights are in; gives the folder. */
export async function assetOf(folder: string, graph: Uint8Array, contents: Record<string, Uint8Array>): Promise<string> {
  await mkdir(folder, { recursive: true })
  const files = new Map()
  for (const [path, bytes] of Object.entries({ 'model.onnx': graph, ...contents })) {
    await writeFile(join(folder, path), bytes)
    files.set(path, { path, cid: (await fileDag(sumBytes(bytes))).cid, size: bytes.byteLength })
  }
  await writeFile(join(folder, 'asset.json'), encodeManifest({ kind: 'model', main: 'model.onnx', files }))
  return folder
}
