import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sharedModel } from '../shared.js'
import { type Opened, openStock, readJson, stockRuntime } from './checkpoint.js'
import { Decoding, distance, greedy, inPieces, unpadded } from './decoding.js'
import { TINY_DECODERS, TINY_MIXTURES } from './tiny.js'

const runtime = await stockRuntime()
const TOLERANCE = 1e-4

for (const name of [...TINY_DECODERS, ...TINY_MIXTURES]) {
  const folder = sharedModel(name)
  describe.skipIf(!runtime || !folder)(`${name} in stock ONNX Runtime`, () => {
    let opened: Opened
    let golden: ReturnType<typeof readJson>
    beforeAll(async () => {
      golden = readJson(folder!, 'golden.json')
      opened = await openStock(runtime!, folder!)
    })
    afterAll(() => opened?.close())

    for (const size of [64, 3, 1]) {
      it(`gives the logits of transformers for a batch of two, ${size} tokens at a time`, async () => {
        expect(distance(await inPieces(unpadded(opened, 2), golden.input_ids, size), golden.logits)).toBeLessThan(TOLERANCE)
      })
      it(`gives them for a left-padded batch, ${size} tokens at a time`, async () => {
        const { attention_mask, position_ids, last_logits } = golden.left_padded
        const logits = await inPieces(new Decoding(opened, attention_mask, position_ids), golden.input_ids, size)
        expect(
          distance(
            logits.map((row) => row.at(-1)),
            last_logits,
          ),
        ).toBeLessThan(TOLERANCE)
      })
    }
    it('gives them for each sequence alone', async () => {
      for (const [n, row] of golden.input_ids.entries())
        expect(distance(await unpadded(opened, 1).feed([row]), [golden.logits[n]])).toBeLessThan(TOLERANCE)
    })
    it('goes on with the same greedy tokens', async () => {
      expect(await greedy(opened, golden.input_ids[0], golden.greedy.length)).toEqual(golden.greedy)
    })
  })
}

const stories = sharedModel('stories260k')
describe.skipIf(!runtime || !stories)('stories260k in stock ONNX Runtime', () => {
  it('tells the same stories as transformers, 100 greedy tokens each', async () => {
    const opened = await openStock(runtime!, stories!)
    try {
      for (const { input_ids, last_logits, greedy_ids } of readJson(stories!, 'golden.json').cases) {
        const logits = await unpadded(opened, 1).feed([input_ids])
        expect(distance(logits[0]!.at(-1), last_logits)).toBeLessThan(TOLERANCE)
        expect(await greedy(opened, input_ids, greedy_ids.length)).toEqual(greedy_ids)
      }
    } finally {
      await opened.close()
    }
  })
})
