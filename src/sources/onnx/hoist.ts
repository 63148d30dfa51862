import { copyOf } from '../../graph/copy.js'
import {
  TensorProto_DataLocation as DataLocation,
  type GraphProto,
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
  TensorProtoSchema,
} from '../../graph/generated/onnx_pb.js'
import { graphsOf, renamedNode } from '../../graph/subgraphs.js'

/** Names of values and tensors in a graph and in those that its nodes hold. */
export class Names {
  private readonly taken = new Set<string>()

  constructor(graph: GraphProto) {
    this.add(graph)
  }

  has(name: string): boolean {
    return this.taken.has(name)
  }

  /** The name, or one like it that nothing has yet; it is taken from then on. */
  unique(wanted: string): string {
    let name = wanted
    for (let n = 1; this.taken.has(name); n++) name = `${wanted}_${n}`
    this.taken.add(name)
    return name
  }

  private add({ input, initializer, output, node }: GraphProto): void {
    for (const { name } of [...input, ...initializer, ...output]) this.taken.add(name)
    for (const one of node) {
      for (const name of [...one.input, ...one.output]) this.taken.add(name)
      for (const held of graphsOf(one)) this.add(held)
    }
  }
}

/**
 * Makes initializers of the graph of all data outside of it: of what Constant nodes are, and of the initializers of graphs
 * that nodes hold. Those get names of their own, since branches may use one name for two tensors; gives what each was called.
 */
export function hoist(graph: GraphProto): ReadonlyMap<string, string> {
  const hoister = new Hoister(new Names(graph))
  graph.node = graph.node.flatMap((node) => {
    const constant = outsideConstant(node)
    if (!constant) return [hoister.node(node)]
    hoister.found.push(constant)
    return []
  })
  graph.initializer.push(...hoister.found)
  return hoister.called
}

class Hoister {
  readonly found: TensorProto[] = []
  /** new name -> the one that it had */
  readonly called = new Map<string, string>()

  constructor(private readonly names: Names) {}

  /** The node with other graphs, as another one: what the first one reads may be known already. */
  node(node: NodeProto): NodeProto {
    const graphs = graphsOf(node)
    for (const held of graphs) this.graph(held)
    return graphs.length > 0 ? copyOf(NodeProtoSchema, node) : node
  }

  private graph(graph: GraphProto): void {
    const moved = new Map<string, string>()
    const take = (tensor: TensorProto) => {
      const name = this.names.unique(tensor.name)
      moved.set(tensor.name, name)
      this.called.set(name, tensor.name)
      this.found.push(copyOf(TensorProtoSchema, tensor, { name }))
    }
    for (const tensor of graph.initializer) if (isOutside(tensor)) take(tensor)
    graph.initializer = graph.initializer.filter((tensor) => !isOutside(tensor))
    const nodes = graph.node.flatMap((node) => {
      const constant = outsideConstant(node)
      if (constant) take(constant)
      return constant ? [] : [this.node(node)]
    })
    const renamed = (name: string) => moved.get(name) ?? name
    graph.node = moved.size > 0 ? nodes.map((node) => renamedAs(node, renamed)) : nodes
    for (const output of graph.output) output.name = renamed(output.name)
  }
}

function renamedAs(node: NodeProto, renamed: (name: string) => string): NodeProto {
  const { name, metadataProps } = node
  return Object.assign(renamedNode(node, renamed), { name, metadataProps })
}

/** The value of a Constant node as an initializer of that name, where its data is outside of the graph. */
function outsideConstant({ opType, output, attribute }: NodeProto): TensorProto | undefined {
  const value = opType === 'Constant' ? attribute.find(({ name }) => name === 'value')?.t : undefined
  return value && isOutside(value) ? copyOf(TensorProtoSchema, value, { name: output[0] ?? '' }) : undefined
}

/** True for a tensor whose data is not in the graph. */
export function isOutside({ dataLocation }: TensorProto): boolean {
  return dataLocation === DataLocation.EXTERNAL
}
