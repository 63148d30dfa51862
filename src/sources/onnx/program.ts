import { create } from '@bufbuild/protobuf'
import { type Attributes, attributeProtos, tensorAttribute } from '../../graph/attributes.js'
import { copyOf } from '../../graph/copy.js'
import {
  TensorProto_DataLocation as DataLocation,
  TensorProto_DataType as DataType,
  FunctionProtoSchema,
  type GraphProto,
  GraphProtoSchema,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
  TensorProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from '../../graph/generated/onnx_pb.js'
import { readsOf, renamedNode } from '../../graph/subgraphs.js'
import type { StateDict, WeightRef } from '../../graph/weights.js'
import { Names } from './hoist.js'
import type { Origin } from './origins.js'
import type { Recurrent } from './recurrent.js'
import type { OnnxStateDict, StateTensor } from './state-dict.js'
import { sunk } from './sunk.js'

// From this IR version on initializers need not be inputs of the graph as well.
const BARE_INITIALIZERS = 4n

/**
 * The program of an asset: the model with the tensors of the state dict as its initializers, in fragments as `weights`
 * says, and with nodes that make of them what the model's own initializers were. What is only for people, or says where
 * the model was made, is left out.
 */
export function programOf(model: ModelProto, { tensors, origins }: OnnxStateDict, weights: StateDict): ModelProto {
  const graph = model.graph!
  const stays = graph.initializer.filter(({ name }) => !origins.has(name))
  const moved = new Set(origins.keys())
  const initializers = new Set(graph.initializer.map(({ name }) => name))
  const restorer = new Restorer(graph, origins)
  const values = (list: readonly ValueInfoProto[]) =>
    list
      .filter(({ name }) => !initializers.has(name))
      .map(({ name, type }) => create(ValueInfoProtoSchema, { name, ...(type && { type }) }))
  return create(ModelProtoSchema, {
    irVersion: model.irVersion > BARE_INITIALIZERS ? model.irVersion : BARE_INITIALIZERS,
    opsetImport: model.opsetImport,
    functions: model.functions.map((one) =>
      copyOf(FunctionProtoSchema, one, { docString: '', metadataProps: [], node: one.node.map((node) => bare(node, (name) => name)) }),
    ),
    graph: create(GraphProtoSchema, {
      name: graph.name,
      input: values(graph.input),
      output: values(graph.output),
      valueInfo: values(graph.valueInfo),
      initializer: [
        ...[...tensors].map(([key, tensor]) => weightProto(key, tensor, weights.get(key)!)),
        ...stays.map((tensor) => copyOf(TensorProtoSchema, tensor, { docString: '', metadataProps: [] })),
      ],
      node: sunk(graph.node, initializers, moved).flatMap((node) => restorer.restored(node)),
    }),
  })
}

function weightProto(name: string, { dataType, dims }: StateTensor, { location, offset, length }: WeightRef): TensorProto {
  const externalData = Object.entries({ location, offset, length }).map(([key, value]) => ({ key, value: String(value) }))
  return create(TensorProtoSchema, { name, dataType, dims: [...dims], dataLocation: DataLocation.EXTERNAL, externalData })
}

function bare(node: NodeProto, rename: (name: string) => string): NodeProto {
  const { name, overload } = node
  return Object.assign(renamedNode(node, rename), { name, overload })
}

/** Lets nodes read tensors of the state dict, or what is made of them right before each node: so it is never kept from one segment to another. */
class Restorer {
  private readonly names: Names

  constructor(
    graph: GraphProto,
    private readonly origins: ReadonlyMap<string, Origin>,
  ) {
    this.names = new Names(graph)
    for (const origin of origins.values()) if (origin.is !== 'gates') this.names.unique(origin.key)
  }

  restored(node: NodeProto): NodeProto[] {
    const made: NodeProto[] = []
    const renamed = new Map<string, string>()
    for (const name of readsOf(node)) {
      const origin = this.origins.get(name)
      if (!origin || renamed.has(name)) continue
      renamed.set(
        name,
        origin.is === 'itself' ? origin.key : origin.is === 'transpose' ? this.turned(made, origin.key) : this.gates(made, origin),
      )
    }
    return [...made, bare(node, (name) => renamed.get(name) ?? name)]
  }

  private turned(made: NodeProto[], key: string): string {
    return this.node(made, 'Transpose', [key], { perm: [1n, 0n] }, key)
  }

  /** (directions, gates * hidden, ...) of a tensor (gates * hidden, ...) for each direction, or of two of biases. */
  private gates(made: NodeProto[], { directions, order }: Recurrent): string {
    const each = directions.map((pieces) => {
      const parts = pieces.map(({ key, shape }) => {
        const [rows, ...inputs] = shape
        const flat = this.shaped(made, [key], key, [order.length, rows! / order.length, ...inputs])
        const sorted = order.length > 1 ? this.node(made, 'Gather', [flat, this.integers(made, order, key)], { axis: 0n }, key) : flat
        return this.shaped(made, [sorted], key, [1, ...shape])
      })
      return this.joined(made, parts, 1n, pieces[0]!.key)
    })
    return this.joined(made, each, 0n, directions[0]![0]!.key)
  }

  private shaped(made: NodeProto[], [value]: readonly [string], key: string, shape: readonly number[]): string {
    return this.node(made, 'Reshape', [value, this.integers(made, shape, key)], {}, key)
  }

  private joined(made: NodeProto[], parts: readonly string[], axis: bigint, key: string): string {
    return parts.length === 1 ? parts[0]! : this.node(made, 'Concat', parts, { axis }, key)
  }

  private integers(made: NodeProto[], values: readonly number[], key: string): string {
    const rawData = new Uint8Array(BigInt64Array.from(values, BigInt).buffer)
    const t = create(TensorProtoSchema, { dataType: DataType.INT64, dims: [BigInt(values.length)], rawData })
    const name = this.node(made, 'Constant', [], {}, key)
    made.at(-1)!.attribute = [tensorAttribute('value', t)]
    return name
  }

  private node(made: NodeProto[], opType: string, input: readonly string[], attributes: Attributes, key: string): string {
    const output = this.names.unique(`${key}/${opType}`)
    made.push(
      create(NodeProtoSchema, { name: output, opType, input: [...input], output: [output], attribute: attributeProtos(attributes) }),
    )
    return output
  }
}
