import type { Config } from '../../models/config.js'
import { readPooling } from '../../models/pooling.js'
import { buildGraph } from '../../models/registry.js'
import { AssetError } from '../core/errors.js'
import { parseJson, parseJsonObject } from '../core/json.js'
import { serializeGraph } from '../graph/parse.js'
import type { StateDict } from '../graph/weights.js'

/** Reads a whole file of a checkpoint or an asset by its path in there; undefined where it has none. */
export type ReadText = (path: string) => Promise<{ readonly bytes: Uint8Array; readonly what: string } | undefined>

/** The program of a checkpoint as bytes of an ONNX model, or why there is none. */
export type Program = { readonly graph: Uint8Array } | { readonly graph: undefined; readonly why: string }

/** The config.json, where there is one. @throws AssetError 'BAD_INPUT' where it is not a JSON object */
export async function readConfig(read: ReadText): Promise<Config | undefined> {
  const file = await read('config.json')
  return file && parseJsonObject(file.bytes, file.what)
}

/**
 * The program of a checkpoint, out of its config.json and what its weights are. A family that is not known, a variant
 * of one that is not, or weights that don't make a model of it have none: they are stored all the same, they just can't be run.
 * @throws AssetError 'BAD_INPUT' where a file that says how sentences are pooled is not JSON
 */
export async function programOf(config: Config | undefined, read: ReadText, weights: StateDict): Promise<Program> {
  if (!config) return { graph: undefined, why: 'it has no config.json' }
  const file = await read('1_Pooling/config.json')
  const pooling = file && parseJsonObject(file.bytes, file.what)
  const list = pooling && (await read('modules.json'))
  const modules = list && parseJson(list.bytes, list.what)
  // Scaled to length 1 unless modules.json leaves that out.
  const normalize = !Array.isArray(modules) || modules.some((module) => String(module?.type).endsWith('.Normalize'))
  try {
    return { graph: serializeGraph(buildGraph(config, weights, pooling ? { pooling: readPooling(pooling, normalize) } : {})) }
  } catch (error) {
    if (!(error instanceof AssetError)) throw error
    return { graph: undefined, why: error.message.replace(/^Cannot build the graph: /, '') }
  }
}
