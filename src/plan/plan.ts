import type { GraphIndex } from '../graph/cut.js'
import { type DividedPlan, divideBudget } from './budget.js'
import type { OnnxUses } from './cache.js'
import { headStep, isMatrix, planSteps, type SegmentStep, type Step } from './steps.js'
import type { TileNeeds } from './tiles.js'

/** How a graph will be run: its steps in order, which of them makes the logits in ONNX Runtime, and what stays in memory. */
export interface Plan {
  readonly steps: readonly Step[]
  readonly head: SegmentStep | undefined
  readonly memory: DividedPlan
}

/** A run of nodes for one engine, as a graph of its own. */
export interface Part {
  readonly engine: 'native' | 'onnx'
  readonly graph: GraphIndex
}

/** The weights that steps use; one that a branch uses is cached, whoever else uses it. */
export function weightUses(index: GraphIndex, steps: readonly Step[]): OnnxUses {
  const branched = new Set(steps.flatMap((step) => (step.kind === 'branch' ? step.weights : [])))
  const uses = segmentsOf(steps).map(({ weights }) =>
    weights.map((name) => ({ name, length: index.weights.get(name)!.data.length, matrix: isMatrix(index, name) })),
  )
  const only = (cached: boolean) => uses.map((segment) => segment.filter(({ name }) => branched.has(name) === cached))
  return { segments: only(false).filter(({ length }) => length > 0), cached: only(true).filter(({ length }) => length > 0) }
}

/** All segments in ONNX Runtime, those of branches among them. */
export function segmentsOf(steps: readonly Step[]): SegmentStep[] {
  return steps.flatMap((step) => (step.kind === 'segment' ? [step] : step.kind === 'branch' ? segmentsOf(step.steps) : []))
}

/**
 * Plans a graph, divided into `parts` in the order of a pass, of which the native ones together need `native`. The budget
 * in bytes is what `budgetOf` gives for the bytes of all weights, each once (tables of which only rows are read do not
 * count). Pure, no I/O.
 * @throws AssetError 'BUDGET_TOO_SMALL' | 'UNSUPPORTED'
 */
export function planGraph(
  index: GraphIndex,
  budgetOf: (total: number) => number,
  parts: readonly Part[] = [{ engine: 'onnx', graph: index }],
  native: TileNeeds = { uses: [], vectorBytes: 0 },
): Plan {
  let segments = 0
  const steps = parts.flatMap(({ engine, graph }): Step[] => {
    if (engine === 'onnx') return planSteps(graph)
    const [inputs, outputs] = [graph.inputs, graph.outputs].map((values) => values.map(({ name }) => name))
    return [{ kind: 'native', segment: segments++, inputs: inputs!, outputs: outputs! }]
  })
  return { steps, head: headStep(steps), memory: divideBudget(weightUses(index, steps), native, budgetOf) }
}
