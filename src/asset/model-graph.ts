import type { Config } from '../../models/config.js'
import { type Pooling, readPooling } from '../../models/pooling.js'
import { buildGraph, familyOf } from '../../models/registry.js'
import { parseJson, parseJsonObject } from '../core/json.js'
import { LIMITS } from '../core/limits.js'
import { readSmallFile } from '../core/read.js'
import { serializeGraph } from '../graph/parse.js'
import type { StateDict } from '../graph/weights.js'
import type { Checkpoint } from '../sources/checkpoint.js'

/** The checkpoint's config.json, where it has one. @throws AssetError 'BAD_INPUT' where it is not a JSON object */
export async function readConfig(checkpoint: Checkpoint): Promise<Config | undefined> {
  const file = checkpoint.copies.get('config.json')
  return file && parseJsonObject(await readSmallFile(file.path, LIMITS.json), file.path)
}

/**
 * The program of a checkpoint as bytes of an ONNX model; undefined for a family that is not known: such a checkpoint is
 * stored all the same, it just can't be run.
 * @throws AssetError 'BAD_INPUT' | 'UNSUPPORTED' where config.json and the tensors don't make a model of their family
 */
export async function graphOf(checkpoint: Checkpoint, config: Config | undefined, weights: StateDict): Promise<Uint8Array | undefined> {
  if (!config || !familyOf(config)) return undefined
  const pooling = await poolingOf(checkpoint)
  return serializeGraph(buildGraph(config, weights, pooling ? { pooling } : {}))
}

/** How a sentence encoder pools: from `1_Pooling/config.json`; scaled to length 1 unless modules.json leaves that out. */
async function poolingOf(checkpoint: Checkpoint): Promise<Pooling | undefined> {
  const file = checkpoint.copies.get('1_Pooling/config.json')
  if (!file) return undefined
  const list = checkpoint.copies.get('modules.json')
  const modules = list && parseJson(await readSmallFile(list.path, LIMITS.json), list.path)
  const normalize = !Array.isArray(modules) || modules.some((module) => String(module?.type).endsWith('.Normalize'))
  return readPooling(parseJsonObject(await readSmallFile(file.path, LIMITS.json), file.path), normalize)
}
