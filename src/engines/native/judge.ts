import { AssetError } from '../../core/errors.js'
import type { GraphIndex } from '../../graph/cut.js'
import type { NodeProto } from '../../graph/generated/onnx_pb.js'
import { readsOf } from '../../graph/subgraphs.js'
import { Holdings } from './holdings.js'
import { cannot, NotNative } from './not-native.js'
import { lowerNode } from './operators.js'
import { Tracer } from './tracer.js'

/** Why a node is not native; undefined for one that the native engine knows. */
export type Why = string | undefined

/** What the native engine thinks of the nodes of a graph. */
export interface Judged {
  /** nodes that compute something, in their order */
  readonly nodes: ReadonlyMap<NodeProto, Why>
  /** nodes that only say how weights, rows of them or constants are to be taken, by what they make: they go with whoever uses that */
  readonly stored: ReadonlyMap<string, NodeProto>
}

/** Goes through a graph and asks of each node whether the native engine knows it, given that ONNX Runtime computes the others. */
export function judge(index: GraphIndex): Judged {
  const tracer = new Tracer(index, new Holdings(index))
  const nodes = new Map<NodeProto, Why>()
  const stored = new Map<string, NodeProto>()
  const rows = new Set<string>()
  const outputs = new Set(index.outputs.map(({ name }) => name))
  // What is made of weights alone, and of that what is made in a way that is not known: to go on with it natively would be to copy
  // whole weights between the engines.
  const [still, foreign] = [new Set(index.weights.keys()), new Set<string>()]
  for (const { name } of index.inputs) tracer.give(name)
  for (const node of index.nodes) {
    const made = node.output.filter((name) => name !== '')
    const isStill =
      node.input.some((name) => still.has(name)) && node.input.every((name) => name === '' || still.has(name) || index.constants.has(name))
    if (isStill) for (const name of made) still.add(name)
    const why = whyNot(() => {
      if (isStill && node.input.some((name) => foreign.has(name))) throw cannot('it is made of a weight in a form that is not known')
      lowerNode(tracer, node)
      for (const name of made) if (outputs.has(name) && tracer.isStored(name)) tracer.value(name)
    })
    if (why !== undefined) for (const name of made) tracer.give(name)
    if (why !== undefined && isStill) for (const name of made) foreign.add(name)
    for (const name of made) if (tracer.isRows(name)) rows.add(name)
    if (why === undefined && made.every((name) => tracer.isStored(name) && !outputs.has(name)))
      for (const name of made) stored.set(name, node)
    else nodes.set(node, why)
  }
  // Rows that somebody computes with are a value, so that they are read once for all who do.
  const used = new Set([...nodes.keys()].flatMap(readsOf))
  for (const [name, node] of [...stored]) {
    if (!used.has(name) || !rows.has(name)) continue
    stored.delete(name)
    nodes.set(node, undefined)
  }
  return { nodes: new Map(index.nodes.flatMap((node) => (nodes.has(node) ? [[node, nodes.get(node)] as const] : []))), stored }
}

/** Why something can't be lowered, if it can't. */
export function whyNot(lower: () => void): Why {
  try {
    lower()
    return undefined
  } catch (error) {
    if (error instanceof NotNative) return error.why
    if (error instanceof AssetError && error.code === 'UNSUPPORTED') return error.message
    throw error
  }
}
