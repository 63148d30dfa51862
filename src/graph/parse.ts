import { fromBinary, toBinary } from '@bufbuild/protobuf'
import { AssetError } from '../core/errors.js'
import { LIMITS } from '../core/limits.js'
import { checkTensor } from './external.js'
import { type AttributeProto, type GraphProto, type ModelProto, ModelProtoSchema, type TensorProto } from './generated/onnx_pb.js'
import { quoted } from './names.js'
import { scanModel } from './scan.js'

/**
 * Reads a serialized ONNX model. Size, nesting and counts are checked before anything is allocated; then every tensor
 * must hold what its shape says, with external data that stays inside the graph's folder. Only initializers of the main
 * graph may have such data, or any tensor, where `outside` says so: never give that model to an engine.
 * @throws AssetError 'BAD_INPUT'
 */
export function parseGraph(bytes: Uint8Array, outside: 'initializers' | 'anywhere' = 'initializers'): ModelProto {
  if (bytes.byteLength > LIMITS.graph) throw unreadable(`it has ${bytes.byteLength} bytes, at most ${LIMITS.graph} are read`)
  let model: ModelProto
  try {
    scanModel(bytes)
    // What the schema doesn't know is left out: it could not be checked, and would be handed on to the engine.
    model = fromBinary(ModelProtoSchema, bytes, { recursionLimit: LIMITS.graphDepth, readUnknownFields: false })
  } catch (error) {
    throw unreadable(error instanceof Error ? error.message : String(error), error)
  }
  if (!model.graph) throw unreadable('it has no graph in it')
  const initializers = new Set(model.graph.initializer)
  for (const tensor of tensorsOf(model)) checkTensor(tensor, outside === 'anywhere' || initializers.has(tensor))
  const names = new Set<string>()
  for (const { name } of model.graph.initializer) {
    if (names.has(name)) throw unreadable(`two initializers are called ${quoted(name)}`)
    names.add(name)
  }
  return model
}

/** The bytes of an ONNX model; the same model always gives the same bytes. */
export function serializeGraph(model: ModelProto): Uint8Array {
  return toBinary(ModelProtoSchema, model)
}

/** Every tensor of a model: initializers and attributes, those of subgraphs and functions too. */
export function* tensorsOf(model: ModelProto): Generator<TensorProto> {
  if (model.graph) yield* graphTensors(model.graph)
  for (const { initialization, algorithm } of model.trainingInfo) {
    if (initialization) yield* graphTensors(initialization)
    if (algorithm) yield* graphTensors(algorithm)
  }
  for (const fn of model.functions) {
    for (const node of fn.node) for (const attribute of node.attribute) yield* attributeTensors(attribute)
    for (const attribute of fn.attributeProto) yield* attributeTensors(attribute)
  }
}

function* graphTensors(graph: GraphProto): Generator<TensorProto> {
  yield* graph.initializer
  for (const { values, indices } of graph.sparseInitializer) yield* [values, indices].filter((tensor) => tensor !== undefined)
  for (const node of graph.node) for (const attribute of node.attribute) yield* attributeTensors(attribute)
}

function* attributeTensors(attribute: AttributeProto): Generator<TensorProto> {
  if (attribute.t) yield attribute.t
  yield* attribute.tensors
  const sparse = attribute.sparseTensor ? [attribute.sparseTensor, ...attribute.sparseTensors] : attribute.sparseTensors
  for (const { values, indices } of sparse) yield* [values, indices].filter((tensor) => tensor !== undefined)
  if (attribute.g) yield* graphTensors(attribute.g)
  for (const graph of attribute.graphs) yield* graphTensors(graph)
}

function unreadable(why: string, cause?: unknown): AssetError {
  return new AssetError('BAD_INPUT', `Cannot read the ONNX graph: ${why}`, { cause })
}
