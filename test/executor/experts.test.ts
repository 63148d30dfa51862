import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fragment, inspect, loadModel, type Model, openStore, plan, type Store } from '../../src/api/index.js'
import { TINY_MIXTURES } from '../models/tiny.js'
import { sharedModel } from '../shared.js'
import { temporary } from '../sources/files.js'
import { golden, idTensor, worstDifference } from './assets.js'
import { fragmentDisguised } from './disguise.js'
import { choiceOf, ENGINES } from './engines.js'
import { ReadCount, type Routes, routesOf } from './routes.js'
import { stockLogits } from './stock.js'

const runtime = await import('onnxruntime-node').catch(() => undefined)
const SHARES = [1, 0.6, 0.3, 0]

interface Golden {
  input_ids: number[][]
  logits: number[][][]
  greedy: number[]
  left_padded: { attention_mask: number[][]; last_logits: number[][] }
}

const bytesOf = (layers: Routes) => layers.flat(2).reduce((sum, { length }) => sum + length, 0)

const CASES = TINY_MIXTURES.flatMap((name) => ENGINES.map((engine) => [name, engine] as const))

describe.runIf(runtime && sharedModel('tiny-mixtral')).each(CASES)('the experts of %s in %s', (name, which) => {
  const engine = choiceOf(which)
  let place: Awaited<ReturnType<typeof temporary>>
  let folder: string
  let store: Store
  let asset: string
  let golds: Golden
  beforeAll(async () => {
    place = await temporary()
    folder = `${place.path}/asset`
    await fragment(sharedModel(name)!, { out: folder })
    store = await openStore(`${place.path}/store`)
    asset = which === 'mixed' ? await fragmentDisguised(sharedModel(name)!, store) : folder
    golds = await golden<Golden>(name)
  })
  afterAll(() => place[Symbol.asyncDispose]())

  // Planning measures the disk each time.
  const plans = new Map<number | undefined, ReturnType<typeof plan>>()
  function planned(memory?: number): ReturnType<typeof plan> {
    const found = plans.get(memory) ?? plan(asset, { store, engine, ...(memory !== undefined && { memory }) })
    plans.set(memory, found)
    return found
  }

  /** A model within a share of its weights, or the least that it can do with, and how many bytes of experts it may keep. */
  async function within<T>(share: number, use: (model: Model, cache: number, memory: number) => Promise<T>): Promise<T> {
    const { weightBytes, minimum } = await planned()
    const memory = Math.max(minimum, Math.floor(weightBytes * share))
    const { expertCacheBytes } = await planned(memory)
    await using model = await loadModel(asset, { store, engine, memory })
    return await use(model, expertCacheBytes, memory)
  }

  it('give the golden logits, also left-padded, and the golden tokens within any budget, in the very same bits', async () => {
    const { input_ids: ids, logits, greedy, left_padded: padded } = golds
    const bits: Buffer[] = []
    for (const share of SHARES) {
      await within(share, async (model, _, memory) => {
        const found = (await model.run({ input_ids: idTensor(ids) })).logits!.data as Float32Array
        expect(worstDifference(found, logits.flat(2))).toBeLessThan(1e-4)
        bits.push(Buffer.from(found.slice().buffer))
        const behind = (await model.run({ input_ids: idTensor(ids), attention_mask: idTensor(padded.attention_mask) })).logits!
        const width = padded.last_logits[0]!.length
        for (const [row, wanted] of padded.last_logits.entries()) {
          const end = ((row + 1) * behind.data.length) / ids.length
          expect(worstDifference((behind.data as Float32Array).slice(end - width, end), wanted)).toBeLessThan(1e-4)
        }
        const tokens: number[] = []
        for await (const { tokenId } of model.generate(ids[0]!, { maxTokens: greedy.length, ignoreEos: true })) tokens.push(tokenId)
        expect(tokens).toEqual(greedy)
        const { peakResidentBytes, budgetBytes, engine: runs } = await model.stats()
        expect(runs).toBe(which)
        expect(peakResidentBytes).toBeLessThanOrEqual(memory)
        expect(budgetBytes).toBe(memory)
      })
    }
    for (const other of bits) expect(other.equals(bits[0]!)).toBe(true)
  })

  it('are read only when a token is sent to them and they are not in memory, by their last use: counted to the byte', async () => {
    const tokens = Array.from({ length: 24 }, (_, at) => 3 + ((at * at * 7 + at * 13) % 250))
    const singles = tokens.map((token) => [token])
    const feeds = [...singles, golds.input_ids[0]!]
    const passes = [...(await routesOf(folder, singles)), ...(await routesOf(folder, [golds.input_ids[0]!]))]
    const all = passes.reduce((bytes, layers) => bytes + bytesOf(layers), 0)
    for (const share of SHARES) {
      await within(share, async (model, cache) => {
        const count = new ReadCount(cache, which !== 'native')
        let [used, read] = [0, 0]
        for (const [at, layers] of passes.entries()) {
          await model.run({ input_ids: idTensor([feeds[at]!]) })
          used += bytesOf(layers)
          read += count.pass(layers)
          const stats = await model.stats()
          expect([stats.expertBytes, stats.expertBytesRead]).toEqual([used, read])
        }
        if (share === 1)
          expect(read).toBe([...new Map(passes.flat(3).map((weight) => [weight.name, weight.length])).values()].reduce((a, b) => a + b))
        // One weight at a time has room: whoever needs one reads it.
        if (share === 0) expect(read).toBe(all)
        if (share === 0.6) expect(read).toBeLessThan(all)
      })
    }
  })

  it('that no token was sent to are not in memory, and the bytes read are those of the others', async () => {
    const [layers] = await routesOf(folder, [[7]])
    await within(1, async (model) => {
      const before = await model.stats()
      await model.run({ input_ids: idTensor([[7]]) })
      const after = await model.stats()
      const sent = new Set(layers!.flat(2).map(({ name }) => name.slice(0, -'.weight'.length)))
      const experts = (await model.modules()).filter(({ key }) => /experts\.\d+\.\w+$/.test(key))
      expect(experts.length).toBeGreaterThan(sent.size)
      for (const { key, resident } of experts) expect([key, resident]).toEqual([key, sent.has(key)])
      const { weightBytes, expertBytes } = await planned()
      expect([after.expertBytes, after.expertBytesRead]).toEqual([bytesOf(layers!), bytesOf(layers!)])
      // The native engine read what stays in memory when it was loaded.
      if (which !== 'onnx') return
      const row = 64 * (name === 'tiny-qwen3-moe' ? 2 : 4)
      expect(after.bytesRead - before.bytesRead).toBe(weightBytes - expertBytes + bytesOf(layers!) + row)
    })
  })

  it.each(['q8', 'q4'] as const)(
    'of %s give what stock ONNX Runtime makes of them, within the least memory; the router stays as it was',
    async (dtype) => {
      const out = `${place.path}/${dtype}`
      await fragment(sharedModel(name)!, { out, dtype })
      const { modules } = await inspect(out)
      const dtypesOf = (end: RegExp) => [...new Set(modules.filter(({ key }) => end.test(key)).flatMap(({ dtypes }) => dtypes))].sort()
      expect(dtypesOf(/(mlp|moe)\.gate$/)).toEqual([name === 'tiny-qwen3-moe' ? 'BF16' : 'F32'])
      expect(dtypesOf(/experts\.\d+\.(gate_proj|w1)$/)).toEqual(dtype === 'q8' ? ['F16', 'I8'] : ['F16', 'U8'])
      const { minimum: memory } = await plan(out, { engine })
      await using model = await loadModel(out, { engine, memory })
      const { logits } = await model.run({ input_ids: idTensor(golds.input_ids) })
      expect(worstDifference(logits!.data as Float32Array, (await stockLogits(out, golds.input_ids))!)).toBeLessThan(1e-3)
      expect((await model.stats()).expertBytesRead).toBeGreaterThan(0)
    },
  )

  if (which === 'native')
    it('give a row the same bits alone and among others, whoever else is sent to its experts', async () => {
      const rows = [0, 1, 2].map((row) => Array.from({ length: 20 }, (_, at) => 3 + ((row * 31 + at * at * 7 + at * 13) % 250)))
      await within(0, async (model) => {
        // a prompt, and few enough rows for single tokens
        for (const length of [20, 4]) {
          const ids = rows.map((row) => row.slice(0, length))
          const together = (await model.run({ input_ids: idTensor(ids) })).logits!.data as Float32Array
          for (const [at, row] of ids.entries()) {
            const alone = (await model.run({ input_ids: idTensor([row]) })).logits!.data as Float32Array
            expect(
              Buffer.from(alone.slice().buffer).equals(Buffer.from(together.slice(at * alone.length, (at + 1) * alone.length).buffer)),
            ).toBe(true)
          }
        }
      })
    })
})
