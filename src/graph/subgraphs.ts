import { create } from '@bufbuild/protobuf'
import { copyOf } from './copy.js'
import {
  AttributeProtoSchema,
  type GraphProto,
  GraphProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  TensorProtoSchema,
  ValueInfoProtoSchema,
} from './generated/onnx_pb.js'

/** The graphs that a node holds: the branches of an If, the body of a Loop or Scan. They see every name around them. */
export function graphsOf({ attribute }: NodeProto): GraphProto[] {
  return attribute.flatMap(({ g, graphs }) => (g ? [g, ...graphs] : graphs))
}

const known = new WeakMap<NodeProto, readonly string[]>()

/** Every name that a node reads: its inputs, and what its graphs take from around them, each of those once. */
export function readsOf(node: NodeProto): readonly string[] {
  const graphs = graphsOf(node)
  if (graphs.length === 0) return node.input
  const found = known.get(node) ?? [...new Set([...node.input, ...graphs.flatMap(readsOfGraph)])]
  known.set(node, found)
  return found
}

function readsOfGraph({ input, initializer, node, output }: GraphProto): string[] {
  const own = new Set([...input, ...initializer].map(({ name }) => name))
  for (const one of node) for (const name of one.output) own.add(name)
  const read = [...node.flatMap(readsOf), ...output.map(({ name }) => name)]
  return read.filter((name) => name !== '' && !own.has(name))
}

/** A node with other names, in its graphs too, and without what is only for people. `rename` gives '' for ''. */
export function renamedNode({ opType, domain, input, output, attribute }: NodeProto, rename: (name: string) => string): NodeProto {
  return create(NodeProtoSchema, {
    opType,
    domain,
    input: input.map(rename),
    output: output.map(rename),
    attribute: attribute.map((one) => (one.g ? copyOf(AttributeProtoSchema, one, { g: renamedGraph(one.g, rename) }) : one)),
  })
}

function renamedGraph({ name, input, initializer, node, valueInfo, output }: GraphProto, rename: (name: string) => string): GraphProto {
  const [inputs, infos, outputs] = [input, valueInfo, output].map((list) =>
    list.map(({ name, type }) => create(ValueInfoProtoSchema, { name: rename(name), ...(type && { type }) })),
  )
  return create(GraphProtoSchema, {
    name,
    input: inputs!,
    initializer: initializer.map((tensor) => copyOf(TensorProtoSchema, tensor, { name: rename(tensor.name) })),
    node: node.map((one) => renamedNode(one, rename)),
    valueInfo: infos!,
    output: outputs!,
  })
}
