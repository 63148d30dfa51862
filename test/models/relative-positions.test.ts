import { describe, expect, it } from 'vitest'
import { type Buckets, bucketOf, checkBuckets } from '../../models/relative-positions.js'

const usual: Buckets = { count: 32, farthest: 128, bothWays: true }
const backward: Buckets = { ...usual, bothWays: false }

describe('buckets of distances', () => {
  // Values of transformers' _relative_position_bucket.
  it('are what T5 was trained with, near ones alone, far ones together', () => {
    const at = (buckets: Buckets, distances: number[]) => distances.map((distance) => bucketOf(distance, buckets))
    expect(at(usual, [-7, -1, 0, 1, 7, 8])).toEqual([7, 1, 0, 17, 23, 24])
    expect(at(usual, [-8, -11, -12, -15, -16, -22, -23, -31, -32, -127, -128, -999])).toEqual([8, 8, 9, 9, 10, 10, 11, 11, 12, 15, 15, 15])
    expect(at(backward, [5, 0, -1, -15, -16, -18, -19, -127, -128, -999])).toEqual([0, 0, 1, 15, 16, 16, 17, 31, 31, 31])
  })

  it('never go back as the distance grows, and stay in their half', () => {
    for (const buckets of [usual, backward, { count: 8, farthest: 21, bothWays: true }, { count: 6, farthest: 4000, bothWays: false }])
      for (const sign of buckets.bothWays ? [-1, 1] : [-1]) {
        const far = Array.from({ length: 5000 }, (_, at) => bucketOf(sign * (at + 1), buckets))
        expect(far).toEqual([...far].sort((a, b) => a - b))
        const [first, end] = [sign > 0 ? buckets.count / 2 : 0, sign < 0 && buckets.bothWays ? buckets.count / 2 : buckets.count]
        expect(far.every((bucket) => bucket >= first && bucket < end)).toBe(true)
        expect(far[buckets.farthest - 1]).toBe(end - 1)
      }
  })

  it('are refused where distances cannot be sorted into them, or the table would be long', () => {
    const refusal = (change: Partial<Buckets>) => () => checkBuckets({ ...usual, ...change })
    expect(refusal({})).not.toThrow()
    expect(refusal({ count: 30 })).toThrow(/relative_attention_num_buckets is 30/)
    expect(refusal({ count: 1, bothWays: false })).toThrow(/relative_attention_num_buckets is 1/)
    for (const farthest of [8, 65537, 2 ** 31 - 1]) expect(refusal({ farthest })).toThrow(/relative_attention_max_distance is/)
  })
})
