import { type CachePlan, cacheBounds, type OnnxUses } from './cache.js'
import { planResidency, type ResidencyPlan, residencyBounds } from './pinned.js'
import { planTiles, type TileNeeds, type TilePlan, tileBounds } from './tiles.js'
import { tooSmall } from './too-small.js'

/** One budget for both engines: what stays in memory and what streams in each. */
export interface DividedPlan {
  readonly budget: number
  /** the smallest budget that would do, and all weights; those that both engines use are counted for each, since each holds them */
  readonly minimum: number
  readonly total: number
  readonly residency: ResidencyPlan
  readonly cache: CachePlan
  readonly tiles: TilePlan
}

/**
 * Divides a budget in bytes between weights that ONNX Runtime uses (`segments` of a pass), those of them that a pass may not
 * need (`cached`), and those that the native engine uses (`native`). Each gets what it can't do without. Of the rest, ONNX
 * Runtime gets what it takes to hold all that every pass needs, if there is that much: it streams whole weights, so that
 * what it frees by not streaming is large. If not, both engines get as much as they lack, in proportion. What every pass
 * needs comes first, since each byte of it that stays saves one in every pass; the cache gets what is left. Their budgets
 * make `budgetOf(total)`, to the byte. Pure.
 * @throws AssetError 'BUDGET_TOO_SMALL', naming the minimum
 */
export function divideBudget({ segments, cached }: OnnxUses, native: TileNeeds, budgetOf: (total: number) => number): DividedPlan {
  const [onnx, cache, tiles] = [residencyBounds(segments), cacheBounds(cached), tileBounds(native)]
  const [minimum, total] = [onnx.minimum + cache.minimum + tiles.minimum, onnx.total + cache.total + tiles.total]
  const budget = budgetOf(total)
  if (budget < minimum) throw tooSmall(budget, minimum, 'the small tensors, the largest weights and their read-ahead')
  const rest = budget - minimum
  const [onnxLacks, nativeLacks] = [onnx.total - onnx.minimum, tiles.total - tiles.minimum]
  const onnxMore = rest >= onnxLacks ? onnxLacks : Math.floor(rest * (onnxLacks / (onnxLacks + nativeLacks)))
  const nativeMore = Math.min(nativeLacks, rest - onnxMore)
  const cacheMore = Math.min(cache.total - cache.minimum, rest - onnxMore - nativeMore)
  const [cacheBudget, nativeBudget] = [cache.minimum + cacheMore, tiles.minimum + nativeMore]
  return {
    budget,
    minimum,
    total,
    residency: planResidency(segments, budget - nativeBudget - cacheBudget),
    cache: { ...cache, budget: cacheBudget },
    tiles: planTiles(native.uses, native.vectorBytes, nativeBudget),
  }
}
