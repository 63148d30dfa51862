import { Tensor } from 'onnxruntime-common'
import { describe, expect, it } from 'vitest'
import { buildGraph } from '../../models/registry.js'
import { completeFeeds } from '../../src/executor/feeds.js'
import { indexGraph } from '../../src/graph/cut.js'
import { TensorProto_DataType as DataType } from '../../src/graph/generated/onnx_pb.js'
import { modelOf, value } from '../graph/onnx.js'
import { decoderConfig, decoderWeights } from '../models/synthetic.js'

// Two layers, two heads of keys and values, four wide.
const index = indexGraph(buildGraph(decoderConfig, decoderWeights()))
const int64 = (dims: number[], from = 1) =>
  new Tensor(
    'int64',
    BigInt64Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => BigInt(from)),
    dims,
  )
const float32 = (dims: number[]) => new Tensor('float32', new Float32Array(dims.reduce((a, b) => a * b, 1)), dims)
const cache = (batch: number, past: number, layers = 2) =>
  Object.fromEntries(
    Array.from({ length: layers }, (_, layer) =>
      ['key', 'value'].map((part) => [`past_key_values.${layer}.${part}`, float32([batch, 2, past, 4])]),
    ).flat(),
  )
const complete = (feeds: Record<string, Tensor>, of = index) => completeFeeds(of, new Map(Object.entries(feeds)))

describe('inputs that are left out', () => {
  it('are filled in: a mask of ones, positions, empty caches', () => {
    const feeds = complete({ input_ids: int64([2, 3]) })
    expect(feeds.get('attention_mask')!.dims).toEqual([2, 3])
    expect([...(feeds.get('position_ids')!.data as BigInt64Array)]).toEqual([0n, 1n, 2n, 0n, 1n, 2n])
    expect(feeds.get('past_key_values.1.value')).toMatchObject({ type: 'float32', dims: [2, 2, 0, 4] })
  })

  it('are counted on from a cache and a mask', () => {
    const mask = new Tensor('int64', BigInt64Array.from([0n, 1n, 1n, 1n, 1n]), [1, 5])
    const feeds = complete({ input_ids: int64([1, 2]), attention_mask: mask, ...cache(1, 3) })
    expect([...(feeds.get('position_ids')!.data as BigInt64Array)]).toEqual([2n, 3n])
    expect(complete({ input_ids: int64([1, 2]), ...cache(1, 3) }).get('attention_mask')!.dims).toEqual([1, 5])
  })

  it('without a mask in the graph, positions go on from the cache', () => {
    const inputs = [value('input_ids', DataType.INT64, ['b', 's']), value('position_ids', DataType.INT64, ['b', 's'])]
    const positions = complete({ input_ids: int64([1, 2]) }, indexGraph(modelOf({ input: inputs }))).get('position_ids')!
    expect([...(positions.data as BigInt64Array)]).toEqual([0n, 1n])
  })
})

describe('inputs that do not fit are refused with the one that is wrong', () => {
  const ids = { input_ids: int64([1, 2]) }
  const cases: [string, Record<string, Tensor>, RegExp][] = [
    ['an unknown one', { ...ids, inputs_embeds: float32([1]) }, /it has no input inputs_embeds; its inputs are input_ids, attention_mask/],
    ['an unknown one of any name', { ...ids, ['\n'.repeat(5e6)]: float32([1]) }, /it has no input "\\n\\n/],
    ['a missing one', {}, /the input input_ids is missing/],
    ['ids of fractions', { input_ids: float32([1, 2]) }, /input_ids is of float32, expected int64/],
    ['ids in a list', { input_ids: int64([2]) }, /input_ids has the shape \[2\], expected \[\?,\?\]/],
    ['no ids', { input_ids: int64([1, 0]) }, /input_ids has the shape \[1,0\]; give \(batch, sequence\), neither empty/],
    ['a mask of fractions', { ...ids, attention_mask: float32([1, 2]) }, /attention_mask is of float32, expected int64/],
    ['a mask without dimensions', { ...ids, attention_mask: int64([]) }, /attention_mask has the shape \[\], expected \[\?,\?\]/],
    [
      'a mask that is too short',
      { ...ids, attention_mask: int64([1, 1]) },
      /attention_mask has the shape \[1,1\], expected \[1,2\]: a column for/,
    ],
    ['a mask that is too long', { ...ids, attention_mask: int64([1, 7]) }, /attention_mask has the shape \[1,7\], expected \[1,2\]/],
    [
      'a mask without the cache',
      { ...ids, attention_mask: int64([1, 2]), ...cache(1, 3) },
      /attention_mask has the shape \[1,2\], expected \[1,5\]/,
    ],
    ['a mask of another batch', { ...ids, attention_mask: int64([2, 2]) }, /disagree on "batch": 1 and 2/],
    ['a cache of another batch', { ...ids, ...cache(2, 3) }, /input_ids and past_key_values\.0\.key disagree on "batch": 1 and 2/],
    ['positions of another length', { ...ids, position_ids: int64([1, 3]) }, /input_ids and position_ids disagree on "sequence": 2 and 3/],
    ['caches of two lengths', { ...ids, ...cache(1, 3), ...cache(1, 4, 1) }, /disagree on "past_sequence": 4 and 3/],
    ['a cache of one layer', { ...ids, ...cache(1, 3, 1) }, /disagree on "past_sequence": 3 and 0/],
    [
      'a cache of other heads',
      { ...ids, 'past_key_values.0.key': float32([1, 3, 1, 4]) },
      /has the shape \[1,3,1,4\], expected \[\?,2,\?,4\]/,
    ],
    ['an empty cache of absurd length', { ...ids, 'past_key_values.0.key': float32([0, 2, 2 ** 40, 4]) }, /disagree on "batch": 1 and 0/],
  ]
  for (const [what, feeds, text] of cases)
    it(what, () => {
      const refusal = expect.objectContaining({ name: 'AssetError', code: 'BAD_INPUT', message: expect.stringMatching(text) })
      expect(() => complete(feeds)).toThrow(refusal)
      expect(() => complete(feeds)).toThrow(/^Cannot run the model: .{1,1000}$/)
    })
})
