import { branchesOf } from '../graph/branches.js'
import type { GraphIndex } from '../graph/cut.js'
import { liveGraph } from '../graph/live.js'
import { readsOf } from '../graph/subgraphs.js'
import type { FileRange } from '../store/arriving-asset.js'

/**
 * The weights of a graph in the order in which a pass first needs them: vectors before all, since they are in memory from the
 * beginning; then matrices. Tables of which only rows are picked are left out, and what only some passes need: which is known
 * only in a pass. Pure.
 */
export function arrivalOrder(whole: GraphIndex): FileRange[] {
  const index = liveGraph(whole)
  const vectors = new Map<string, FileRange>()
  const matrices = new Map<string, FileRange>()
  const branched = new Set([...branchesOf(index).values()].flatMap(({ nodes }) => nodes))
  for (const node of index.nodes) {
    if (branched.has(node)) continue
    for (const [at, name] of readsOf(node).entries()) {
      const weight = index.weights.get(name)
      if (!weight) continue
      const { location, offset, length } = weight.data
      const isVector = weight.tensor.dims.length < 2
      if (!isVector && node.opType === 'Gather' && at === 0) continue
      const list = isVector ? vectors : matrices
      if (!list.has(name)) list.set(name, { path: location, offset, length })
    }
  }
  return [...vectors.values(), ...matrices.values()]
}
