import { realpath } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { AssetError, ioError } from '../../core/errors.js'
import { parseJsonObject } from '../../core/json.js'
import { LIMITS } from '../../core/limits.js'
import { isSafePath } from '../../core/paths.js'
import { quoted } from '../../graph/names.js'
import { type Checkpoint, readSourceFile, type SourceFile, type SourceRun, sourceFileAt, type TensorRef } from '../checkpoint.js'
import { isMounted } from '../mounts.js'
import { readManifest, type TfjsGroup } from './manifest.js'

/** What the structure of a TensorFlow.js model is called, in its folder and in an asset. */
export const TOPOLOGY = 'model.json'

/**
 * Opens a layers or graph model of TensorFlow.js: the weights in the shards that its model.json names, `layer/kernel` under the key
 * `layer.kernel`, and model.json itself as the program. Shards are files of its folder: nothing is fetched, no link is followed.
 * Reads model.json only.
 * @throws AssetError 'BAD_INPUT' | 'UNSUPPORTED' | 'LIMIT' | 'CORRUPT' for shards of another length than their weights | 'NOT_FOUND' | 'IO'
 */
export async function openTfjs(path: string): Promise<Checkpoint> {
  const file = await sourceFileAt(path)
  const model = parseJsonObject(await readSourceFile(path, LIMITS.json), path)
  const groups = readManifest(model.weightsManifest, path)
  checkShards(groups, path)
  const folder = await realFolder(path)
  const tensors = new Map<string, TensorRef>()
  for (const group of groups) {
    const shards: SourceFile[] = []
    for (const shard of group.paths) shards.push(await shardAt(folder, shard, path))
    layOut(group, shards, file, tensors, path)
  }
  const isWhole = typeof model.modelTopology === 'object' && model.modelTopology !== null
  return {
    folder: basename(path) === TOPOLOGY ? dirname(path) : path,
    tensors,
    copies: new Map([[TOPOLOGY, file]]),
    program: {
      ...(isWhole && { path: TOPOLOGY }),
      problem: isWhole ? 'the engine for TensorFlow.js models is not there yet' : 'its model.json has no modelTopology',
    },
  }
}

/** @throws AssetError 'BAD_INPUT' for a shard that is no file of the folder, or is named twice */
function checkShards(groups: readonly TfjsGroup[], what: string): void {
  const named = new Set<string>()
  for (const shard of groups.flatMap(({ paths }) => paths)) {
    if (!isSafePath(shard)) throw new AssetError('BAD_INPUT', `Cannot read ${what}: it names the unsafe shard ${quoted(shard)}`)
    if (named.has(shard)) throw new AssetError('BAD_INPUT', `Cannot read ${what}: it names the shard ${quoted(shard)} twice`)
    named.add(shard)
  }
}

/** The folder that a file is in, by a path without links. */
async function realFolder(path: string): Promise<string> {
  const folder = dirname(path)
  if (isMounted(folder)) return folder
  return realpath(folder).catch((error: unknown) => {
    throw ioError(`open ${path}`, error)
  })
}

/** A shard of a folder, whose own path has no links. */
async function shardAt(folder: string, shard: string, what: string): Promise<SourceFile> {
  const path = join(folder, shard)
  if (isMounted(folder)) return sourceFileAt(path)
  const real = await realpath(path).catch((error: unknown) => {
    throw ioError(`open ${path}`, error)
  })
  if (real !== path)
    throw new AssetError(
      'BAD_INPUT',
      `Cannot read ${what}: the shard ${quoted(shard)} is a link, or in a folder that is one; put the file itself there`,
    )
  return sourceFileAt(path)
}

/** Adds the weights of a group: where the bytes of each lie in its shards, which may end within it. */
function layOut(
  { weights }: TfjsGroup,
  shards: readonly SourceFile[],
  model: SourceFile,
  tensors: Map<string, TensorRef>,
  what: string,
): void {
  const there = shards.reduce((sum, { size }) => sum + size, 0)
  const needed = weights.reduce((sum, { length }) => sum + length, 0)
  if (there !== needed)
    throw new AssetError('CORRUPT', `Cannot read ${what}: shards of ${there} bytes are to hold weights of ${needed}; get the model again`)
  let [at, offset] = [0, 0]
  for (const { name, dtype, shape, length } of weights) {
    const key = name.replaceAll('/', '.')
    if (tensors.has(key)) throw new AssetError('BAD_INPUT', `Cannot read ${what}: it has two weights with the key ${quoted(key)}`)
    const runs: SourceRun[] = []
    for (let left = length; left > 0; ) {
      const shard = shards[at]!
      const run = Math.min(left, shard.size - offset)
      if (run > 0) runs.push({ file: shard, offset, length: run })
      left -= run
      offset += run
      if (offset === shard.size) [at, offset] = [at + 1, 0]
    }
    const [first = { file: model, offset: 0 }, ...further] = runs
    tensors.set(key, { dtype, shape, file: first.file, offset: first.offset, length, ...(further.length > 0 && { further }) })
  }
}
