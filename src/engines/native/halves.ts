import type { GraphIndex } from '../../graph/cut.js'
import type { Halves } from '../../graph/halves.js'
import { type Bounds, shareBudget } from '../../plan/halves.js'
import { planGraph } from '../../plan/plan.js'
import type { EngineChoice } from '../choice.js'
import { divide } from './choose.js'
import type { Division } from './divide.js'
import { needsOf } from './spec.js'

/** A half of a graph, divided between the engines, and its budget in bytes. */
export interface PlannedHalf {
  readonly index: GraphIndex
  readonly division: Division
  readonly budget: number
}

/** Divides both halves of a graph between the engines, and a budget between the halves. @throws AssetError 'BUDGET_TOO_SMALL' | 'MISSING' | 'UNSUPPORTED' */
export function planHalves(
  { encoder, decoder }: Halves,
  engine: EngineChoice,
  budgetOf: (total: number) => number,
): { readonly encoder: PlannedHalf; readonly decoder: PlannedHalf } {
  const [first, second] = [divide(encoder, engine), divide(decoder, engine)]
  const budgets = shareBudget(boundsOf(encoder, first), boundsOf(decoder, second), budgetOf)
  return {
    encoder: { index: encoder, division: first, budget: budgets.encoder },
    decoder: { index: decoder, division: second, budget: budgets.decoder },
  }
}

function boundsOf(index: GraphIndex, { segments, program }: Division): Bounds {
  return planGraph(index, (total) => total, segments, program && needsOf(index, program)).memory
}

/** What computes some graphs together. */
export function engineOf(divisions: readonly Division[]): 'native' | 'onnx' | 'mixed' {
  const engines = new Set(divisions.flatMap(({ segments }) => segments.map(({ engine }) => engine)))
  return engines.size === 1 ? [...engines][0]! : 'mixed'
}
