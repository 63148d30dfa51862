import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AssetError } from '../../src/core/errors.js'
import { surroundings } from '../../src/sources/torch/globals.js'
import { readPickle } from '../../src/sources/torch/pickle.js'
import { randomOf } from '../random.js'
import { temporary } from '../sources/files.js'
import { archive, dict, floats, op, pickle, stacked, tensor } from '../sources/torch-files.js'
import { openedOrRefused } from './fuzzing.js'
import { mutatedFile } from './torch-mutations.js'

const views = [
  { elements: 12, shape: [3, 4], strides: [4, 1] },
  { elements: 12, shape: [4, 3], strides: [1, 4] },
  { elements: 12, offset: 5, shape: [2, 2], strides: [4, 1], type: 'HalfStorage' },
]
const state = (isStacked: boolean) =>
  pickle(dict(Object.fromEntries(views.map((view, i) => [`layer.${i}.weight`, tensor({ ...view, key: String(i) }, isStacked)]))))
const files = [
  archive(state(false), { '0': floats(12), '1': floats(12), '2': floats(6) }),
  stacked(state(true), {
    '0': { elements: 12, bytes: floats(12) },
    '1': { elements: 12, bytes: floats(12) },
    '2': { elements: 12, bytes: floats(6) },
  }),
]

describe('changed files of PyTorch', () => {
  it('14-23: are refused with a typed error, or all of their tensors are within them', async () => {
    await using folder = await temporary()
    const seen = new Set<string>()
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...files), fc.nat(), async (file, seed) => {
        seen.add(await openedOrRefused(mutatedFile(file, randomOf(seed)), `${folder.path}/w`))
      }),
      { numRuns: 3000 },
    )
    expect([...seen]).toEqual(expect.arrayContaining(['BAD_INPUT', 'read']))
  })

  it('15-18: any row of opcodes is recorded or refused', () => {
    const pieces = fc.constantFrom(
      ...[
        op.mark,
        op.none,
        op.true,
        op.emptyTuple,
        op.emptyDict,
        op.emptyList,
        op.tuple,
        op.reduce,
        op.build,
        op.create,
        op.setItem,
        op.setItems,
      ],
      ...[op.append, op.appends, op.persistent, op.put(0), op.get(0), op.text('a'), op.int(4), op.global('collections.OrderedDict')],
      ...[tensor(views[0]!), Buffer.from([0x8f]), Buffer.from([0x90]), Buffer.from([0x94]), Buffer.from([0x93]), op.global('__torch__.A')],
    )
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 40 }), fc.boolean(), (parts, isScript) => {
        try {
          readPickle(pickle(...parts), 0, 'x', surroundings('x', isScript))
        } catch (error) {
          expect(error).toBeInstanceOf(AssetError)
        }
      }),
      { numRuns: 20_000 },
    )
  })
})
