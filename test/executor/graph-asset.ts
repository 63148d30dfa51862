import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileDag } from '../../src/asset/dag.js'
import { encodeManifest } from '../../src/asset/manifest.js'
import { sumBytes } from '../../src/asset/sums.js'

/** An asset of one graph and a file of eight floats, w.bin. */
export async function graphAsset(folder: string, graph: Uint8Array): Promise<string> {
  await mkdir(folder, { recursive: true })
  const contents = { 'model.onnx': graph, 'w.bin': new Uint8Array(Float32Array.from([0, 1, 2, 3, 4, 5, 6, 7]).buffer) }
  const files = new Map()
  for (const [path, bytes] of Object.entries(contents)) {
    await writeFile(join(folder, path), bytes)
    files.set(path, { path, cid: (await fileDag(sumBytes(bytes))).cid, size: bytes.byteLength })
  }
  await writeFile(join(folder, 'asset.json'), encodeManifest({ kind: 'model', main: 'model.onnx', files }))
  return folder
}
