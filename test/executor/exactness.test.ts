import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fragment, type LoadOptions, loadModel, type Model, type WeightDtype } from '../../src/api/index.js'
import type { Addon } from '../../src/engines/native/addon.js'
import { findAddon } from '../../src/engines/native/find-addon.js'
import { sharedModel } from '../shared.js'
import { idTensor, type TestStore, testStore, worstDifference } from './assets.js'
import { choiceOf, ENGINES, type TestEngine } from './engines.js'

const here = sharedModel('stories260k') !== undefined
const native = ENGINES.includes('native')
const PROMPT = Array.from({ length: 60 }, (_, at) => 3 + ((at * 37) % 250))
const SMALL = PROMPT.slice(0, 16)

/** The tokens of a generation, and the most bytes of caches on the way. */
async function generated(model: Model, prompt: readonly number[], promptChunk?: number) {
  const ids: number[] = []
  let bytes = 0
  for await (const { tokenId } of model.generate(prompt, { maxTokens: 12, ignoreEos: true, promptChunk })) {
    ids.push(tokenId)
    bytes = Math.max(bytes, (await model.stats()).stateBytes)
  }
  return { ids, bytes }
}

describe.runIf(here)('how exactly a model is computed', () => {
  let assets: TestStore
  const cids = new Map<WeightDtype, string>()
  beforeAll(async () => {
    assets = await testStore()
    for (const dtype of ['keep', 'bf16', 'q8', 'q4'] as const)
      cids.set(dtype, (await fragment(sharedModel('stories260k')!, { store: assets.store, dtype })).cid)
  })
  afterAll(() => assets.remove())

  const load = (dtype: WeightDtype, options: LoadOptions = {}) => loadModel(cids.get(dtype)!, { store: assets.store, ...options })
  async function logits(dtype: WeightDtype, options: LoadOptions, rows: readonly (readonly number[])[] = [PROMPT]): Promise<Float32Array> {
    await using model = await load(dtype, options)
    return (await model.run({ input_ids: idTensor(rows) })).logits!.data as Float32Array
  }

  it('refuses names that are none', async () => {
    await expect(load('keep', { precision: 'quick' as never })).rejects.toMatchObject({
      code: 'BAD_USAGE',
      message: "Cannot load a model with this precision; give 'exact' or 'fast'",
    })
    await expect(load('keep', { kvCache: 'f8' as never })).rejects.toMatchObject({
      code: 'BAD_USAGE',
      message: "Cannot load a model with this kvCache; give 'f32' or 'f16'",
    })
  })

  const loadIn = async (engine: TestEngine, options: LoadOptions = {}) =>
    loadModel(await assets.cid('stories260k', engine), { store: assets.store, engine: choiceOf(engine), ...options })

  it.each(ENGINES)('%s: says what it does', async (engine) => {
    await using plain = await loadIn(engine)
    expect(await plain.stats()).toMatchObject({ precision: 'exact', kvCache: 'f32' })
    await using other = await loadIn(engine, { precision: 'fast', kvCache: 'f16' })
    // weights of float32 are not rounded
    expect(await other.stats()).toMatchObject({ precision: 'exact', kvCache: engine === 'onnx' ? 'f32' : 'f16' })
  })

  it.each(ENGINES)('%s: a prompt in chunks gives the same tokens', async (engine) => {
    await using model = await loadIn(engine)
    const { ids } = await generated(model, PROMPT)
    for (const chunk of [20, 30, 59, 60]) expect((await generated(model, PROMPT, chunk)).ids).toEqual(ids)
  })

  describe.runIf(native)('in the native engine', () => {
    const sets = native ? (findAddon() as Addon).instructionSets() : []
    const others: LoadOptions[] = [{ threads: 1 }, { threads: 3 }, { memory: '400KiB' }]

    it('caches of float16 take half the memory', async () => {
      await using wide = await load('keep')
      await using half = await load('keep', { kvCache: 'f16' })
      const { bytes } = await generated(wide, PROMPT)
      expect(bytes).toBeGreaterThan(0)
      expect((await generated(half, PROMPT)).bytes * 2).toBe(bytes)
    })

    it('caches of float16 give the same bits on every machine and for every chunk of a prompt', async () => {
      const wanted = await logits('keep', { kvCache: 'f16' })
      const exact = await logits('keep', {})
      expect(worstDifference(wanted, exact)).toBeGreaterThan(0)
      expect(worstDifference(wanted, exact)).toBeLessThan(0.05)
      for (const other of [...others, ...sets.map((instructionSet) => ({ instructionSet }))])
        expect(await logits('keep', { kvCache: 'f16', ...other })).toEqual(wanted)
      await using model = await load('keep', { kvCache: 'f16' })
      const first = await model.run({ input_ids: idTensor([PROMPT.slice(0, 20)]) })
      const past = Object.entries(first).filter(([name]) => name !== 'logits')
      const caches = Object.fromEntries(past.map(([name, tensor]) => [name.replace('present', 'past_key_values'), tensor]))
      const second = await model.run({ input_ids: idTensor([PROMPT.slice(20)]), ...caches })
      expect([first, second].flatMap(({ logits }) => [...(logits!.data as Float32Array)])).toEqual([...wanted])
    })

    it.each([
      ['bf16', 0.15],
      ['q8', 0.4],
      ['q4', 0.6],
    ] as const)('%s, fast: close to the exact result, and the same bits whatever else there is', async (dtype, bound) => {
      await using model = await load(dtype, { precision: 'fast' })
      const { precision } = await model.stats()
      const fast = (await model.run({ input_ids: idTensor([PROMPT]) })).logits!.data as Float32Array
      const exact = await logits(dtype, {})
      expect(worstDifference(fast, exact) > 0).toBe(precision === 'fast')
      expect(worstDifference(fast, exact)).toBeLessThan(bound)
      for (const other of others) expect(await logits(dtype, { precision: 'fast', ...other })).toEqual(fast)
      const among = await logits(dtype, { precision: 'fast' }, [[...PROMPT].reverse(), PROMPT])
      expect(among.subarray(fast.length)).toEqual(fast)
      // few rows lose nothing, and neither does a processor without the instructions
      expect(await logits(dtype, { precision: 'fast' }, [SMALL])).toEqual(await logits(dtype, {}, [SMALL]))
      for (const instructionSet of sets.filter((set) => set !== 'avx512')) {
        await using other = await load(dtype, { precision: 'fast', instructionSet })
        expect((await other.stats()).precision).toBe('exact')
        expect((await other.run({ input_ids: idTensor([PROMPT]) })).logits!.data).toEqual(exact)
      }
    })

    it('all chunks of a prompt but the last leave the output head out, and what of it streams', async () => {
      await using model = await load('keep', { memory: '400KiB' })
      const { streamedBytesPerPass } = await model.stats()
      const read = async (chunk: number) => {
        const before = (await model.stats()).bytesRead
        for await (const _ of model.generate(PROMPT, { maxTokens: 1, promptChunk: chunk }));
        return (await model.stats()).bytesRead - before
      }
      const [one, two, three] = [await read(60), await read(30), await read(20)]
      expect(two - one).toBe(three - two)
      expect(two - one).toBeGreaterThan(0)
      expect(two - one).toBeLessThan(streamedBytesPerPass)
    })
  })
})
