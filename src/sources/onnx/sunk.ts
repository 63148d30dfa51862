import type { NodeProto } from '../../graph/generated/onnx_pb.js'
import { readsOf } from '../../graph/subgraphs.js'

/**
 * The nodes in another order: those that make something of weights and constants alone come right before the first node
 * that needs it, so that no pass keeps it for longer, whatever the exporter's order. `stored` are all initializers, `weights`
 * those of them that are in fragments.
 */
export function sunk(nodes: readonly NodeProto[], stored: ReadonlySet<string>, weights: ReadonlySet<string>): NodeProto[] {
  const constants = new Set(stored)
  const waiting = new Map<string, NodeProto>()
  const ordered: NodeProto[] = []
  const placed = new Set<NodeProto>()
  const place = (last: NodeProto) => {
    const pending = [last]
    while (pending.length > 0) {
      const node = pending.at(-1)!
      const missing = readsOf(node)
        .flatMap((name) => waiting.get(name) ?? [])
        .filter((maker) => !placed.has(maker))
      pending.push(...missing)
      if (missing.length > 0) continue
      pending.pop()
      if (!placed.has(node)) ordered.push(node)
      placed.add(node)
    }
  }
  for (const node of nodes) {
    const reads = readsOf(node).filter((name) => name !== '')
    const isConstant = reads.every((name) => constants.has(name))
    if (node.opType === 'Constant' || (isConstant && reads.length > 0)) for (const name of node.output) constants.add(name)
    if (isConstant && reads.some((name) => weights.has(name) || waiting.has(name))) for (const name of node.output) waiting.set(name, node)
    else place(node)
  }
  for (const node of waiting.values()) place(node)
  return ordered
}
