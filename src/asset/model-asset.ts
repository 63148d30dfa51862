import type { Config } from '../../models/config.js'
import { AssetError } from '../core/errors.js'
import { LIMITS } from '../core/limits.js'
import { compareUtf8 } from '../core/paths.js'
import { parseGraph } from '../graph/parse.js'
import { weightRoles } from '../graph/roles.js'
import type { StateDict, WeightRef } from '../graph/weights.js'
import { type Checkpoint, readSourceFile, type TensorRef } from '../sources/checkpoint.js'
import { isQuantised, type PlannedTensor, planFloats, planTensors, type WeightDtype } from './convert/plan.js'
import { layoutFragment } from './fragment-codec.js'
import { checkPaths, GRAPH, INDEX, type Manifest } from './manifest.js'
import { programOf, type ReadText, readConfig } from './model-graph.js'
import { moduleTree } from './module-tree.js'
import { type Part, type PlannedFile, plannedFile, wholeFile } from './pieces.js'
import { untie } from './ties.js'
import { unstack } from './unstack.js'

/** What {@link planModelAsset} takes beside the checkpoint. */
export interface PlanOptions {
  readonly name?: string | undefined
  /** how weights are stored; as they are when left out */
  readonly dtype?: WeightDtype | undefined
  readonly signal?: AbortSignal | undefined
}

/** An asset before it is written: what it is, and every file but the manifest. */
export interface PlannedAsset {
  readonly kind: Manifest['kind']
  readonly name?: string
  readonly main?: string
  readonly config?: string
  readonly files: readonly PlannedFile[]
  /** for people: why it has no graph, where that is so */
  readonly whyNoGraph?: string
  /** for people: what else of the checkpoint is not in it, and why */
  readonly notes?: readonly string[]
}

/**
 * Plans the model asset of a checkpoint: one fragment per module that owns tensors, the graph where the family is
 * known, the Hugging Face index, and the copied files. Weights are not read, but for tied tensors that are compared.
 * A checkpoint that no family makes a graph of is planned without one.
 * @throws AssetError 'BAD_INPUT' where the checkpoint has no tensors or its config.json is not JSON, 'LIMIT' where a key can't be a file name, or there are more modules than an asset may hold.
 */
export async function planModelAsset(checkpoint: Checkpoint, options: PlanOptions = {}): Promise<PlannedAsset> {
  if (checkpoint.tensors.size === 0) throw new AssetError('BAD_INPUT', `Cannot fragment ${checkpoint.folder}: it holds no tensors`)
  if (options.name !== undefined && options.name.length > LIMITS.assetName)
    throw new AssetError('BAD_USAGE', `Cannot name an asset ${JSON.stringify(options.name)}: give at most ${LIMITS.assetName} characters`)
  const read: ReadText = async (path) => {
    const made = checkpoint.made?.get(path)
    if (made) return { bytes: made, what: `the ${path} made of ${checkpoint.folder}` }
    const file = checkpoint.copies.get(path)
    return file && { bytes: await readSourceFile(file.path, LIMITS.json), what: file.path }
  }
  const config = await readConfig(read)
  const { dtype = 'keep' } = options
  const { program: foreign } = checkpoint
  const hasOwn = foreign !== undefined || checkpoint.graph !== undefined
  if (hasOwn && dtype !== 'keep')
    throw new AssetError(
      'UNSUPPORTED',
      `Cannot convert the weights of ${checkpoint.folder}: its own program says of what type they are; use the dtype keep`,
    )
  // What its own program names twice it needs twice.
  const sources = hasOwn ? checkpoint.tensors : await untie(config, unstack(config, checkpoint.tensors), options.signal)
  const tensors = planTensors(sources, dtype, isQuantised(dtype) ? await rolesOf(checkpoint, config, read, sources) : undefined)
  const { files, weights } = planFragments(tensors)
  const own = checkpoint.graph?.(weights)
  const program = own ? { graph: own.bytes } : foreign ? { graph: undefined, why: foreign.problem } : await programOf(config, read, weights)
  const notes = [...(own?.problem === undefined ? [] : [`It can't be run here: ${own.problem}`]), ...(checkpoint.notes ?? [])]
  if (program.graph) files.push(plannedFile(GRAPH, [{ bytes: program.graph }]))
  files.push(plannedFile(INDEX, [{ bytes: indexBytes(weights) }]))
  for (const [path, bytes] of checkpoint.made ?? []) files.push(plannedFile(path, [{ bytes }]))
  for (const [path, file] of checkpoint.copies) files.push(plannedFile(path, [wholeFile(file)]))
  checkPaths(
    files.map(({ path }) => path),
    checkpoint.folder,
  )
  return {
    kind: 'model',
    files,
    ...(options.name !== undefined && { name: options.name }),
    ...(program.graph ? { main: GRAPH } : { whyNoGraph: program.why }),
    ...(foreign?.path !== undefined && { main: foreign.path }),
    ...(config && { config: 'config.json' }),
    ...(notes.length > 0 && { notes }),
  }
}

/** What each matrix is for, by the graph that the weights would have unquantised. @throws AssetError 'UNSUPPORTED' where they give none */
async function rolesOf(checkpoint: Checkpoint, config: Config | undefined, read: ReadText, tensors: ReadonlyMap<string, TensorRef>) {
  const program = await programOf(config, read, planFragments(planFloats(tensors)).weights)
  if (!program.graph) {
    const why = `without a graph nothing says what its weights are for, and it gives none (${program.why})`
    throw new AssetError('UNSUPPORTED', `Cannot quantise ${checkpoint.folder}: ${why}; use the dtype keep, bf16 or f16`)
  }
  return weightRoles(parseGraph(program.graph))
}

/** The fragments of a state dict, and where each tensor will lie. */
function planFragments(tensors: ReadonlyMap<string, PlannedTensor>): { files: PlannedFile[]; weights: StateDict } {
  const files: PlannedFile[] = []
  const weights = new Map<string, WeightRef>()
  for (const module of moduleTree(tensors.keys())) {
    const layout = layoutFragment(module.tensors.map((name) => ({ ...tensors.get(name)!, name })))
    const parts: Part[] = [{ bytes: layout.header }]
    for (const { name, dtype, shape, offset, length } of layout.tensors) {
      const { part, further = [] } = tensors.get(name)!
      parts.push(part, ...further)
      weights.set(name, { dtype, shape, location: module.path, offset, length })
    }
    files.push(plannedFile(module.path, parts))
  }
  return { files, weights }
}

/** The bytes of model.safetensors.index.json; entries are written one by one, since a tensor may be called `__proto__`. */
function indexBytes(weights: StateDict): Uint8Array {
  const entries = [...weights]
    .sort(([a], [b]) => compareUtf8(a, b))
    .map(([name, { location }]) => `    ${JSON.stringify(name)}: ${JSON.stringify(location)}`)
  const total = [...weights.values()].reduce((sum, { length }) => sum + length, 0)
  return Buffer.from(`{\n  "metadata": {\n    "total_size": ${total}\n  },\n  "weight_map": {\n${entries.join(',\n')}\n  }\n}\n`, 'utf8')
}
