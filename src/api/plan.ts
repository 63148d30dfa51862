import { checkChoice } from '../engines/choice.js'
import type { MemoryPlan, PlanOptions } from './plan-asset.js'

/**
 * What would be pinned and streamed within `memory`, what a token would read, and how fast the disk allows that to be.
 * @throws AssetError 'BUDGET_TOO_SMALL' naming the minimum, 'UNSUPPORTED' for an asset without a graph, 'NOT_FOUND'
 */
export async function plan(cidOrPath: string, options: PlanOptions = {}): Promise<MemoryPlan> {
  checkChoice(options)
  const { planAsset } = await import('./plan-asset.js')
  return planAsset(cidOrPath, options)
}
