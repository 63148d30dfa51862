import { create } from '@bufbuild/protobuf'
import { AssetError } from '../core/errors.js'
import { attributeProtos } from './attributes.js'
import { type ExternalData, externalData } from './external.js'
import {
  TensorProto_DataType as DataType,
  GraphProtoSchema,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
  TensorProtoSchema,
  type TypeProto,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from './generated/onnx_pb.js'
import { shown } from './names.js'
import { unpackNibbles } from './nibbles.js'
import { serializeGraph } from './parse.js'
import { readsOf, renamedNode } from './subgraphs.js'
import { checkGraph, STANDARD } from './validate.js'

// BitCast, which turns the 16-bit integers that JavaScript can hold into BFLOAT16, came with opset 26.
const BITCAST_OPSET = 26n

/** An initializer whose bytes lie in a fragment. */
export interface Weight {
  readonly name: string
  readonly tensor: TensorProto
  readonly data: ExternalData
}

/** The names in a graph, sorted by what they are. */
export interface GraphIndex {
  readonly model: ModelProto
  readonly nodes: readonly NodeProto[]
  readonly inputs: readonly ValueInfoProto[]
  readonly outputs: readonly ValueInfoProto[]
  /** initializers in fragments, by name */
  readonly weights: ReadonlyMap<string, Weight>
  /** initializers inside the graph, by name */
  readonly constants: ReadonlyMap<string, TensorProto>
  /** types of inputs, outputs and the values between, by name */
  readonly types: ReadonlyMap<string, TypeProto>
}

/** Checks a parsed graph and sorts its names. @throws AssetError 'BAD_INPUT' | 'UNSUPPORTED' for one that can't be run */
export function indexGraph(model: ModelProto): GraphIndex {
  const graph = model.graph!
  checkGraph(graph)
  const weights = new Map<string, Weight>()
  const constants = new Map<string, TensorProto>()
  for (const tensor of graph.initializer) {
    const data = externalData(tensor)
    if (data) weights.set(tensor.name, { name: tensor.name, tensor, data })
    else constants.set(tensor.name, tensor)
  }
  const inputs = graph.input.filter(({ name }) => !weights.has(name) && !constants.has(name))
  const types = new Map<string, TypeProto>()
  for (const { name, type } of [...inputs, ...graph.valueInfo, ...graph.output]) if (type) types.set(name, type)
  return { model, nodes: graph.node, inputs, outputs: graph.output, weights, constants, types }
}

/** The element type of a value, as ONNX numbers it. @throws AssetError 'UNSUPPORTED' where the graph doesn't say */
export function elementType(index: GraphIndex, name: string): number {
  const weight = index.weights.get(name)
  if (weight) return weight.tensor.dataType
  const type = index.types.get(name)?.value
  if (type?.case !== 'tensorType')
    throw new AssetError('UNSUPPORTED', `Cannot run the graph: it does not say the element type of ${shown(name)}`)
  return type.value.elemType
}

/** The size of a value's last dimension, where the graph declares it. */
export function lastDimension(index: GraphIndex, name: string): number | undefined {
  const type = index.types.get(name)?.value
  const last = type?.case === 'tensorType' ? type.value.shape?.dim.at(-1)?.value : undefined
  return last?.case === 'dimValue' ? Number(last.value) : undefined
}

/** A run of nodes as a model of its own: no weights inside; weights and activations are its inputs, in the order given. */
export interface CutGraph {
  readonly bytes: Uint8Array
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
}

/**
 * Cuts nodes out of a graph. Names are replaced by numbers in order of appearance, so that equal segments of different
 * layers give equal bytes and can share one session. BFLOAT16 inputs become UINT16 with a `BitCast`, INT4 weights UINT8
 * that is unpacked.
 * @throws AssetError 'UNSUPPORTED' for nibbles that are no weight, or whose rows are no whole bytes
 */
export function cutGraph(index: GraphIndex, nodes: readonly NodeProto[], inputs: readonly string[], outputs: readonly string[]): CutGraph {
  const renamed = new Map<string, string>([['', '']])
  const rename = (name: string): string => {
    const known = renamed.get(name)
    if (known !== undefined) return known
    const short = `v${renamed.size}`
    renamed.set(name, short)
    return short
  }
  const graph = create(GraphProtoSchema, { name: 'segment' })
  let opset = index.model.opsetImport.find(({ domain }) => STANDARD.includes(domain))?.version ?? 23n
  for (const name of inputs) {
    const weight = index.weights.get(name)
    if (weight && elementType(index, name) === DataType.INT4) {
      const bits = `b${graph.input.length}`
      const { dims } = weight.tensor
      const packed = [...dims.slice(0, -1), BigInt(packedWidth(name, dims))]
      graph.input.push(valueInfo(index, name, bits, DataType.UINT8, packed))
      unpackNibbles(graph, bits, rename(name), dims)
      continue
    }
    if (elementType(index, name) !== DataType.BFLOAT16) {
      graph.input.push(valueInfo(index, name, rename(name)))
      continue
    }
    const bits = `b${graph.input.length}`
    graph.input.push(valueInfo(index, name, bits, DataType.UINT16))
    const attribute = attributeProtos({ to: BigInt(DataType.BFLOAT16) })
    graph.node.push(create(NodeProtoSchema, { opType: 'BitCast', input: [bits], output: [rename(name)], attribute }))
    opset = opset > BITCAST_OPSET ? opset : BITCAST_OPSET
  }
  const constants = new Set<string>()
  for (const node of nodes) {
    for (const name of readsOf(node)) {
      const constant = index.constants.get(name)
      if (!constant || constants.has(name)) continue
      constants.add(name)
      graph.initializer.push(create(TensorProtoSchema, { ...constant, name: rename(name) }))
    }
    graph.node.push(renamedNode(node, rename))
  }
  for (const name of outputs) graph.output.push(valueInfo(index, name, rename(name)))
  const opsetImport = [{ domain: '', version: opset }]
  const model = create(ModelProtoSchema, { irVersion: index.model.irVersion, opsetImport, graph })
  return { bytes: serializeGraph(model), inputs, outputs }
}

function packedWidth(name: string, dims: readonly bigint[]): number {
  const width = Number(dims.at(-1) ?? 1n)
  if (width % 2 !== 0)
    throw new AssetError('UNSUPPORTED', `Cannot run the graph: a row of ${shown(name)} has ${width} nibbles, no whole bytes`)
  return width / 2
}

function valueInfo(
  index: GraphIndex,
  name: string,
  short: string,
  elemType = elementType(index, name),
  size = index.weights.get(name)?.tensor.dims,
): ValueInfoProto {
  const known = index.types.get(name)?.value
  const dims = size?.map((dim) => ({ value: { case: 'dimValue' as const, value: dim } }))
  const shape = dims ? { dim: dims } : known?.case === 'tensorType' ? known.value.shape : undefined
  return create(ValueInfoProtoSchema, {
    name: short,
    type: { value: { case: 'tensorType', value: { elemType, ...(shape && { shape }) } } },
  })
}
