import { branchesOf } from '../../graph/branches.js'
import type { GraphIndex } from '../../graph/cut.js'
import type { NodeProto } from '../../graph/generated/onnx_pb.js'
import { partsOf } from '../../graph/part.js'
import { Holdings } from './holdings.js'
import { type Judged, judge, whyNot } from './judge.js'
import { type Level, levelsOf } from './levels.js'
import { lowerSegment, programOf } from './lower.js'
import type { Program, ProgramSegment } from './program.js'

/** A run of nodes for one engine, as a graph of its own. */
export interface Segment {
  readonly engine: 'native' | 'onnx'
  readonly graph: GraphIndex
  /** why it is not native */
  readonly why?: string
}

/** A graph divided between the engines: its segments in the order of a pass, and the program of the native ones. */
export interface Division {
  readonly segments: readonly Segment[]
  readonly program?: Program
}

/** Products with weights: what the native engine is there for. */
const WORTH: readonly string[] = ['linear', 'conv1d', 'attention']
const NO_PRODUCT = 'no product with a weight and no attention is among its nodes'
const BRANCH = 'it is a part of an expert, and the native engine runs experts only where it runs all of a model'
// Few graphs need more than two; one that does is no better off for it.
const ROUNDS = 8

/**
 * Divides a graph between the native engine and ONNX Runtime. What the native engine knows is native, with these
 * exceptions: a segment that would hold no product with a weight (linear, conv1d) and no attention goes to ONNX Runtime,
 * since only those are faster natively and each change of engines copies values; so does one whose inputs and outputs
 * the graph does not declare as float32, int64 or booleans, which alone can cross. `index` holds only nodes that are needed.
 */
export function divideGraph(index: GraphIndex): Division {
  const { nodes, stored } = judge(index)
  const reasons = new Map(nodes)
  for (const node of branchNodes(index)) if (reasons.has(node)) reasons.set(node, BRANCH)
  for (let round = 0; round < ROUNDS; round++) {
    const levels = levelsOf({ nodes: reasons, stored }, new Set(index.inputs.map(({ name }) => name)))
    const refused = new Map<NodeProto, string>()
    const division = lowerLevels(index, levels, reasons, (level, why) => {
      for (const node of level.nodes) if (reasons.has(node)) refused.set(node, why)
    })
    // What is wholly native would have been lowered whole, but for odd things that ONNX Runtime may judge.
    if (refused.size === 0) return division.segments.every(({ engine }) => engine === 'native') ? whollyOnnx(index) : division
    for (const [node, why] of refused) reasons.set(node, why)
  }
  return whollyOnnx(index)
}

/** The nodes of branches, and those that make the places of their rows: apart from these nobody would know them for branches. */
function branchNodes(index: GraphIndex): NodeProto[] {
  const branches = [...branchesOf(index).values()]
  const rows = new Set(branches.map(({ rows }) => rows))
  return [...branches.flatMap(({ nodes }) => nodes), ...index.nodes.filter(({ output }) => output.some((name) => rows.has(name)))]
}

function whollyOnnx(graph: GraphIndex): Division {
  return { segments: [{ engine: 'onnx', graph, why: NO_PRODUCT }] }
}

function lowerLevels(
  index: GraphIndex,
  levels: readonly Level[],
  reasons: Judged['nodes'],
  refuse: (level: Level, why: string) => void,
): Division {
  const holdings = new Holdings(index)
  const programs: ProgramSegment[] = []
  const parts = partsOf(
    index,
    levels.map(({ nodes }) => nodes),
  )
  const segments = parts.map((graph, at): Segment => {
    const level = levels[at]!
    if (!level.native) return { engine: 'onnx', graph, why: reasonOf(level, reasons) }
    const why = whyNot(() => programs.push(lowerSegment(graph, holdings)))
    const isWorth = why === undefined && programs.at(-1)!.nodes.some(({ run }) => WORTH.includes(run.op))
    if (!isWorth) refuse(level, why ?? NO_PRODUCT)
    return { engine: 'native', graph }
  })
  return { segments, ...(programs.length > 0 && { program: programOf(programs, holdings) }) }
}

/** Why the first node of a level is not native that the native engine doesn't know; or else why it was not worth it. */
function reasonOf({ nodes }: Level, reasons: Judged['nodes']): string {
  const all = nodes.flatMap((node) => reasons.get(node) ?? [])
  return all.find((why) => why !== NO_PRODUCT) ?? NO_PRODUCT
}
