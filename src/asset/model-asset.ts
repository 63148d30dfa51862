import { AssetError } from '../core/errors.js'
import { compareUtf8 } from '../core/paths.js'
import type { Checkpoint } from '../sources/checkpoint.js'
import { layoutFragment } from './fragment-codec.js'
import { INDEX } from './manifest.js'
import { moduleTree } from './module-tree.js'
import { type Part, type PlannedFile, plannedFile } from './pieces.js'

/** An asset before it is written: what it is, and every file but the manifest. */
export interface PlannedAsset {
  readonly kind: 'model'
  readonly name?: string
  readonly main?: string
  readonly config?: string
  readonly files: readonly PlannedFile[]
}

/**
 * Plans the model asset of a checkpoint: one fragment per module that owns tensors, the Hugging Face index, and the
 * copied files. Nothing is read but what the checkpoint's headers told.
 * @throws AssetError 'BAD_INPUT' where the checkpoint has no tensors, 'LIMIT' where a key can't be a file name.
 */
export function planModelAsset(checkpoint: Checkpoint, options: { name?: string | undefined } = {}): PlannedAsset {
  if (checkpoint.tensors.size === 0) throw new AssetError('BAD_INPUT', `Cannot fragment ${checkpoint.folder}: it holds no tensors`)
  const files: PlannedFile[] = []
  const weightMap: [string, string][] = []
  let totalSize = 0
  for (const module of moduleTree(checkpoint.tensors.keys())) {
    const layout = layoutFragment(module.tensors.map((name) => ({ name, ...checkpoint.tensors.get(name)! })))
    const parts: Part[] = [{ bytes: layout.header }]
    for (const { name, length } of layout.tensors) {
      const { file, offset } = checkpoint.tensors.get(name)!
      parts.push({ file, offset, length })
      weightMap.push([name, module.path])
      totalSize += length
    }
    files.push(plannedFile(module.path, parts))
  }
  files.push(plannedFile(INDEX, [{ bytes: indexBytes(totalSize, weightMap) }]))
  for (const [path, file] of checkpoint.copies) files.push(plannedFile(path, [{ file, offset: 0, length: file.size }]))
  const config = checkpoint.copies.has('config.json')
  return { kind: 'model', files, ...(options.name !== undefined && { name: options.name }), ...(config && { config: 'config.json' }) }
}

/** The bytes of model.safetensors.index.json; entries are written one by one, since a tensor may be called `__proto__`. */
function indexBytes(totalSize: number, weightMap: [string, string][]): Uint8Array {
  const entries = weightMap
    .sort(([a], [b]) => compareUtf8(a, b))
    .map(([name, path]) => `    ${JSON.stringify(name)}: ${JSON.stringify(path)}`)
  return Buffer.from(
    `{\n  "metadata": {\n    "total_size": ${totalSize}\n  },\n  "weight_map": {\n${entries.join(',\n')}\n  }\n}\n`,
    'utf8',
  )
}
