import type { GraphIndex } from '../graph/cut.js'
import { planResidency, type ResidencyPlan, totalBytes, type WeightUse } from './pinned.js'
import { headStep, isMatrix, planSteps, type SegmentStep, type Step } from './steps.js'

/** How a graph will be run: its steps in order, which of them makes the logits, and what stays in memory. */
export interface Plan {
  readonly steps: readonly Step[]
  readonly head: SegmentStep | undefined
  readonly residency: ResidencyPlan
}

/** The matrices and vectors that each segment uses, in forward order. */
function weightUses(index: GraphIndex, steps: readonly Step[]): WeightUse[][] {
  return steps
    .filter((step): step is SegmentStep => step.kind === 'segment')
    .map(({ weights }) => weights.map((name) => ({ name, length: index.weights.get(name)!.data.length, matrix: isMatrix(index, name) })))
}

/**
 * Plans a graph for the budget in bytes that `budgetOf` gives for the bytes of all weights that segments use, each once
 * (tables of which only rows are read do not count). Pure, no I/O.
 * @throws AssetError 'BUDGET_TOO_SMALL' | 'UNSUPPORTED'
 */
export function planGraph(index: GraphIndex, budgetOf: (total: number) => number): Plan {
  const steps = planSteps(index)
  const uses = weightUses(index, steps)
  return { steps, head: headStep(index, steps), residency: planResidency(uses, budgetOf(totalBytes(uses))) }
}
