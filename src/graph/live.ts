import type { GraphIndex } from './cut.js'
import { readsOf } from './subgraphs.js'

/** The graph without the nodes that no output depends on, and without the inputs that are then needed for nothing. */
export function liveGraph(index: GraphIndex): GraphIndex {
  const wanted = new Set(index.outputs.map(({ name }) => name))
  const nodes = [...index.nodes].reverse().filter((node) => {
    if (!node.output.some((name) => wanted.has(name))) return false
    for (const name of readsOf(node)) wanted.add(name)
    return true
  })
  return { ...index, nodes: nodes.reverse(), inputs: index.inputs.filter(({ name }) => wanted.has(name)) }
}
