import type { Module, Value } from '../src/graph/build.js'
import { embedding } from '../src/graph/modules.js'
import { badConfig } from './config.js'

const { fround } = Math
// Of the table of distances, which is part of the graph.
const FARTHEST = 65536

/** How distances of keys from queries are sorted into buckets, each of which has one bias for a head. */
export interface Buckets {
  readonly count: number
  /** from this distance on all are in the last bucket */
  readonly farthest: number
  /** queries see keys before and after them, which then have half of the buckets each */
  readonly bothWays: boolean
}

/** @throws AssetError 'BAD_INPUT' for buckets that distances can't be sorted into */
export function checkBuckets({ count, farthest, bothWays }: Buckets): void {
  const exact = exactOf({ count, farthest, bothWays })
  if (!Number.isInteger(exact) || exact < 1) throw badConfig(`relative_attention_num_buckets is ${count}, expected a multiple of 4`)
  if (farthest <= exact || farthest > FARTHEST)
    throw badConfig(`relative_attention_max_distance is ${farthest}, expected more than ${exact} and at most ${FARTHEST}`)
}

/** Distances below this one have a bucket each. */
function exactOf({ count, bothWays }: Buckets): number {
  return count / (bothWays ? 4 : 2)
}

/**
 * The bucket of a key that is `distance` positions after its query (negative: before): near ones have one each, farther ones
 * share them by the logarithm of the distance, in float32 as transformers computes it. Source: T5, arXiv 1910.10683, section 2.1.
 */
export function bucketOf(distance: number, buckets: Buckets): number {
  const { count, farthest, bothWays } = buckets
  const exact = exactOf(buckets)
  const after = bothWays && distance > 0
  const far = bothWays ? Math.abs(distance) : Math.max(-distance, 0)
  const own = 2 * exact
  const first = after ? count / 2 : 0
  if (far < exact) return first + far
  const share = fround(fround(Math.log(fround(far / exact))) / fround(Math.log(farthest / exact)))
  return first + Math.min(own - 1, exact + Math.floor(fround(share * (own - exact))))
}

/**
 * What is added to the scores of keys at positions `keys` (1, keys) for queries at positions `queries` (queries, 1):
 * (heads, queries, keys), by the module's `relative_attention_bias`.
 */
export function positionBias(module: Module, buckets: Buckets, heads: number, queries: Value, keys: Value): Value {
  const { count, farthest, bothWays } = buckets
  const last = bothWays ? farthest : 0
  const distances = Array.from({ length: farthest + last + 1 }, (_, at) => at - farthest)
  const sorted = distances.map((distance) => bucketOf(distance, buckets))
  const name = `buckets_${count}_${farthest}_${bothWays ? 'both_ways' : 'backward'}`
  const table = module.graph.constant(name, 'I64', sorted, [sorted.length])
  // A bias for every distance first: few rows are read, and what is looked up for each pair is small and in memory.
  const rows = embedding(module.child('relative_attention_bias'), table, count, heads)
  const byHead = module.op('Transpose', [rows], { perm: [1n, 0n] }, { dims: [heads, sorted.length] })
  const pairs = [queries.dims![0]!, keys.dims![1]!]
  const distance = module.op('Sub', [keys, queries], {}, { dims: pairs })
  const near = module.op('Min', [module.op('Max', [distance, module.integer(-farthest)]), module.integer(last)])
  const place = module.op('Add', [near, module.integer(farthest)])
  return module.op('Gather', [byHead, place], { axis: 1n }, { dims: [heads, ...pairs] })
}
