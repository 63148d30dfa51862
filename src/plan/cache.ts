import type { WeightUse } from './pinned.js'

/** The weights of segments in ONNX Runtime, in forward order. */
export interface OnnxUses {
  /** matrices and vectors that every pass uses, by segment */
  readonly segments: readonly (readonly WeightUse[])[]
  /** those of branches, which a pass may not need, by segment */
  readonly cached: readonly (readonly WeightUse[])[]
}

/** Weights that only some passes need, such as those of experts: they are kept in memory by when they were last used. Bytes. */
export interface CachePlan {
  readonly names: ReadonlySet<string>
  readonly budget: number
  /** what one segment needs at once, at most */
  readonly minimum: number
  /** all of them, each once */
  readonly total: number
}

/** The cache of weights that segments use (`uses`, by segment), before it is known what it gets. Pure. */
export function cacheBounds(uses: readonly (readonly WeightUse[])[]): Omit<CachePlan, 'budget'> {
  const unique = new Map(uses.flat().map(({ name, length }) => [name, length]))
  const sum = (lengths: Iterable<number>) => [...lengths].reduce((bytes, length) => bytes + length, 0)
  const minimum = uses.reduce((most, segment) => Math.max(most, sum(segment.map(({ length }) => length))), 0)
  return { names: new Set(unique.keys()), minimum, total: sum(unique.values()) }
}

/** The cache of a model that needs all of its weights in every pass. */
export const NO_CACHE: CachePlan = { names: new Set(), budget: 0, minimum: 0, total: 0 }
