import { AssetError, reasonOf } from '../../core/errors.js'
import { LIMITS } from '../../core/limits.js'
import { declareElementTypes } from '../../graph/element-types.js'
import { externalData } from '../../graph/external.js'
import { TensorProto_DataLocation as DataLocation, type ModelProto, type TensorProto } from '../../graph/generated/onnx_pb.js'
import { parseGraph, serializeGraph } from '../../graph/parse.js'
import { checkGraph } from '../../graph/validate.js'
import type { StateDict } from '../../graph/weights.js'
import { type Checkpoint, type OwnGraph, type SourceFile, withSource } from '../checkpoint.js'
import { readRun } from '../same-bytes.js'
import { withoutDropout } from './dropout.js'
import { hoist, isOutside } from './hoist.js'
import { OutsideFiles } from './outside.js'
import { programOf } from './program.js'
import { readSkeleton } from './skeleton.js'
import { type OnnxStateDict, stateDictOf } from './state-dict.js'

/**
 * Opens an ONNX model: its initializers, inside of it or in files beside it, become a state dict by the keys of the
 * modules that they came from, and its graph that of the asset. Reads no weights, but for those of the same name, which
 * are compared. Small tensors that are no module's stay in the graph.
 * @throws AssetError 'BAD_INPUT' | 'UNSUPPORTED' for a tensor that no fragment can hold | 'LIMIT' | 'NOT_FOUND' | 'CORRUPT' | 'IO'
 */
export async function openOnnx(path: string): Promise<Checkpoint> {
  const { model, file, isInside } = await withSource(path, async (handle, file) => {
    const { bytes, isInside } = await readSkeleton(handle, file)
    return { model: parseGraph(bytes, 'anywhere'), file, isInside }
  })
  const outside = new OutsideFiles(path)
  const placeOf = async (tensor: TensorProto) => (isInside(tensor) ? file : outside.fileOf(tensor.name, externalData(tensor)!))
  const graph = model.graph!
  withoutDropout(graph)
  const called = hoist(graph)
  await checkSize(path, graph.initializer.filter(isOutside), placeOf)
  const stateDict = await stateDictOf(graph, called, placeOf)
  let taken = 0
  for (const tensor of graph.initializer) {
    if (!isOutside(tensor) || stateDict.origins.has(tensor.name)) continue
    taken += externalData(tensor)!.length
    if (taken > LIMITS.graph) throw new AssetError('LIMIT', `Cannot read ${path}: its small tensors have more than ${LIMITS.graph} bytes`)
    await takeIn(tensor, await placeOf(tensor))
  }
  return {
    folder: path,
    tensors: new Map([...stateDict.tensors].map(([key, { ref }]) => [key, ref])),
    copies: new Map(),
    graph: (weights) => graphOf(model, stateDict, weights),
  }
}

/** Refuses a model whose tensors repeat the bytes of its files over and over: it would be far larger as an asset. */
async function checkSize(
  path: string,
  tensors: readonly TensorProto[],
  placeOf: (tensor: TensorProto) => Promise<SourceFile>,
): Promise<void> {
  if (tensors.length > LIMITS.tensors) throw new AssetError('LIMIT', `Cannot read ${path}: it has more than ${LIMITS.tensors} tensors`)
  const files = new Map<string, number>()
  let total = 0
  for (const tensor of tensors) {
    const { path, size } = await placeOf(tensor)
    files.set(path, size)
    total += externalData(tensor)!.length
  }
  const there = [...files.values()].reduce((sum, size) => sum + size, 0)
  if (total > LIMITS.expansion * there)
    throw new AssetError(
      'LIMIT',
      `Cannot read ${path}: its tensors have ${total} bytes, more than ${LIMITS.expansion} times those of its files`,
    )
}

/** Reads the data of a small tensor into the graph. */
async function takeIn(tensor: TensorProto, file: SourceFile): Promise<void> {
  const { offset, length } = externalData(tensor)!
  tensor.rawData = new Uint8Array(length)
  await withSource(file.path, (handle) => readRun(handle, { file, offset }, tensor.rawData, 0))
  tensor.dataLocation = DataLocation.DEFAULT
  tensor.externalData = []
}

/** The graph of the asset. @throws AssetError 'BAD_INPUT' for one that is wrong; one of operators that are not run here is kept all the same */
function graphOf(source: ModelProto, stateDict: OnnxStateDict, weights: StateDict): OwnGraph {
  const model = programOf(source, stateDict, weights)
  let problem: string | undefined
  try {
    checkGraph(model.graph!)
  } catch (error) {
    if (!(error instanceof AssetError && error.code === 'UNSUPPORTED')) throw error
    problem = reasonOf(error)
  }
  declareElementTypes(model.graph!)
  const bytes = serializeGraph(model)
  // As whoever loads the asset will.
  parseGraph(bytes)
  return { bytes, ...(problem !== undefined && { problem }) }
}
