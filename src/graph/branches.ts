import type { GraphIndex } from './cut.js'
import type { NodeProto } from './generated/onnx_pb.js'
import { readsOf } from './subgraphs.js'

/**
 * What one `ScatterND` alone needs, such as an expert of a mixture: while no row is sent to it, its output is its data, and
 * none of these nodes, nor their weights, is needed.
 */
export interface Branch {
  /** in the order of the graph; the `ScatterND` is the last */
  readonly nodes: readonly NodeProto[]
  /** where rows go, (rows, dimensions): of no rows where there is nothing to do */
  readonly rows: string
  readonly data: string
  readonly output: string
}

/**
 * The branches of a graph by their last nodes: each `ScatterND` at the places that a `NonZero` found, with all nodes that
 * serve nothing but its updates, if weights are among what these need. What they compute matters no more when the places
 * are none, whatever they are: that follows from the two operators alone. A branch inside of another one is a part of it.
 */
export function branchesOf(index: GraphIndex): ReadonlyMap<NodeProto, Branch> {
  const { nodes, weights, outputs } = index
  const makers = new Map(nodes.flatMap((node) => node.output.map((name) => [name, node] as const)))
  const uses = new Map<string, number>(outputs.map(({ name }) => [name, 1]))
  for (const node of nodes) for (const name of readsOf(node)) uses.set(name, (uses.get(name) ?? 0) + 1)
  const order = new Map(nodes.map((node, at) => [node, at]))
  const taken = new Set<NodeProto>()
  const branches = new Map<NodeProto, Branch>()
  for (const last of [...nodes].reverse()) {
    if (taken.has(last) || !scattersFound(last, makers)) continue
    const [data, rows, updates] = last.input as [string, string, string]
    const found = servants(updates, makers, uses)
    if (!found.some((node) => readsOf(node).some((name) => weights.has(name)))) continue
    for (const node of found) taken.add(node)
    found.sort((a, b) => order.get(a)! - order.get(b)!)
    branches.set(last, { nodes: [...found, last], rows, data, output: last.output[0]! })
  }
  return branches
}

function scattersFound({ opType, input, output }: NodeProto, makers: ReadonlyMap<string, NodeProto>): boolean {
  if (opType !== 'ScatterND' || input.length !== 3 || output.length !== 1) return false
  const turned = makers.get(input[1]!)
  return turned?.opType === 'Transpose' && makers.get(turned.input[0]!)?.opType === 'NonZero'
}

/** The nodes that only serve one use of a value, backwards. */
function servants(value: string, makers: ReadonlyMap<string, NodeProto>, uses: ReadonlyMap<string, number>): NodeProto[] {
  const found: NodeProto[] = []
  const left = new Map<string, number>()
  const pending = [value]
  while (pending.length > 0) {
    const name = pending.pop()!
    left.set(name, (left.get(name) ?? uses.get(name)!) - 1)
    const maker = makers.get(name)
    if (!maker || maker.output.some((name) => (left.get(name) ?? uses.get(name) ?? 0) > 0)) continue
    found.push(maker)
    pending.push(...readsOf(maker).filter((name) => name !== ''))
  }
  return found
}
