import { cp, readFile, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fragment, inspect, loadModel, plan, seal, type WeightDtype } from '../../src/api/index.js'
import { sharedModel } from '../shared.js'
import { temporary } from '../sources/files.js'
import { fragmentFor, idTensor, type TestStore, testStore, worstDifference } from './assets.js'
import { choiceOf, ENGINES, type TestEngine } from './engines.js'
import { stockLogits } from './stock.js'

const here = sharedModel('stories260k') !== undefined
const DTYPES: readonly WeightDtype[] = ['bf16', 'f16', 'q8', 'q4']
const IDS = [
  [1, 403, 407, 261, 378, 9, 4, 31, 2, 77, 300],
  [2, 17, 407, 5, 3, 8, 41, 3, 21, 7, 30],
].map((row) => row.map((id) => id % 256))
// The most that a result may be off its float32 self: measured, with some room. gpt2's Conv1D matrices stay as they are.
const BOUNDS: Record<string, Partial<Record<WeightDtype, number>>> = {
  stories260k: { bf16: 0.15, f16: 0.02, q8: 0.4, q4: 8 },
  'tiny-llama': { bf16: 1e-4, q8: 0.5, q4: 4 },
  'tiny-gpt2': { bf16: 0.04, f16: 0.005, q8: 0.08 },
  'tiny-qwen3': { q8: 0.3, q4: 3 },
  'tiny-roberta': { bf16: 0.05, q8: 0.2, q4: 2 },
  'tiny-distilbert': { bf16: 0.05, q8: 0.2, q4: 2 },
  'tiny-bert': { bf16: 0.05, q8: 0.1, q4: 1 },
  'tiny-smollm3': { bf16: 0.2, q8: 0.6, q4: 4 },
  'tiny-phi3': { bf16: 0.1, q8: 0.4, q4: 3 },
  'tiny-gemma2': { bf16: 0.6, q8: 2, q4: 15 },
  'tiny-gpt-neox': { bf16: 0.5, q8: 1, q4: 8 },
  'tiny-gemma3': { bf16: 0.2, q8: 0.7, q4: 8 },
}
const cases = Object.entries(BOUNDS).flatMap(([name, bounds]) =>
  Object.entries(bounds).map(([dtype, bound]): [string, WeightDtype, number] => [name, dtype as WeightDtype, bound]),
)

describe.runIf(here)('weights of fewer bits', () => {
  let assets: TestStore
  beforeAll(async () => {
    assets = await testStore()
  })
  afterAll(() => assets.remove())

  const made = new Map<string, Promise<string>>()
  function cidOf(name: string, dtype: WeightDtype, engine?: TestEngine): Promise<string> {
    const key = `${name} ${dtype} ${engine === 'mixed'}`
    const cid = made.get(key) ?? fragmentFor(sharedModel(name)!, assets.store, engine, { dtype })
    made.set(key, cid)
    return cid
  }

  async function result(cid: string, engine: TestEngine): Promise<Float32Array> {
    await using model = await loadModel(cid, { store: assets.store, engine: choiceOf(engine) })
    expect((await model.stats()).engine).toBe(engine)
    const outputs = await model.run({ input_ids: idTensor(IDS) })
    return (outputs.logits ?? outputs.last_hidden_state)!.data as Float32Array
  }

  it.each(cases)(
    '%s as %s: close to float32, alike in all engines and in stock ONNX Runtime',
    { timeout: 300_000 },
    async (name, dtype, bound) => {
      const cid = await cidOf(name, dtype)
      const exact = await result(await cidOf(name, 'keep'), 'onnx')
      await using folder = await temporary()
      const again = await fragment(sharedModel(name)!, { out: `${folder.path}/asset`, dtype })
      expect(again.cid).toBe(cid)
      const stock = await stockLogits(`${folder.path}/asset`, IDS)
      for (const engine of ENGINES) {
        const found = await result(await cidOf(name, dtype, engine), engine)
        expect(worstDifference(found, exact)).toBeLessThan(bound)
        if (stock) expect(worstDifference(found, stock)).toBeLessThan(1e-3)
      }
    },
  )

  const streamed = ENGINES.flatMap((engine) =>
    ['stories260k', 'tiny-llama'].flatMap((name) => (['q8', 'q4'] as const).map((dtype) => [engine, name, dtype] as const)),
  )
  it.each(streamed)(
    '%s, %s as %s: 100, 60 and 30 percent of the weights give the same bits, every byte counted',
    { timeout: 300_000 },
    async (engine, name, dtype) => {
      const cid = await cidOf(name, dtype, engine)
      const choice = choiceOf(engine)
      const { weightBytes, minimum } = await plan(cid, { store: assets.store, engine: choice })
      const whole = await result(cid, engine)
      for (const share of [0.6, 0.3, 0]) {
        const memory = Math.max(Math.floor(weightBytes * share), minimum)
        await using model = await loadModel(cid, { store: assets.store, engine: choice, memory })
        // what stays in memory was read, small tensors in fewer bits than they have there, and nothing else
        const loaded = await model.stats()
        if (engine === 'native') expect(loaded.bytesRead).toBeLessThanOrEqual(loaded.pinnedBytes)
        const { logits } = await model.run({ input_ids: idTensor(IDS) })
        expect(worstDifference(logits!.data as Float32Array, whole)).toBe(0)
        await model.run({ input_ids: idTensor([[7]]) })
        const before = await model.stats()
        await model.run({ input_ids: idTensor([[7]]) })
        const { bytesRead, pinnedBytes, streamedBytesPerPass, peakResidentBytes } = await model.stats()
        expect(peakResidentBytes).toBeLessThanOrEqual(memory)
        // an embedding's row of 64 bytes and its two scales, read alone where they are not in memory
        const alone = engine === 'native' ? [0, 64, 64 + 4] : [0, 4, 64, 64 + 4]
        expect(alone).toContain(bytesRead - before.bytesRead - streamedBytesPerPass)
        expect(streamedBytesPerPass).toBe(weightBytes - pinnedBytes)
      }
    },
  )

  it.each(ENGINES.filter((engine) => engine !== 'mixed'))(
    '%s: scales that are not numbers make results that are none, and nothing worse',
    async (engine) => {
      await using folder = await temporary()
      await fragment(sharedModel('tiny-llama')!, { out: `${folder.path}/asset`, dtype: 'q8' })
      const path = `${folder.path}/asset/modules/lm_head.safetensors`
      const bytes = await readFile(path)
      // the scales come first, right after the header
      bytes.writeUInt16LE(0x7e00, Math.ceil((8 + Number(bytes.readBigUInt64LE(0))) / 4096) * 4096)
      await writeFile(path, bytes)
      const { cid } = await seal(`${folder.path}/asset`)
      expect(cid).not.toBe(await cidOf('tiny-llama', 'q8'))
      await using model = await loadModel(`${folder.path}/asset`, { engine: choiceOf(engine) })
      const { logits } = await model.run({ input_ids: idTensor(IDS) })
      expect(Array.from(logits!.data as Float32Array, Number.isNaN).filter(Boolean).length).toBe(IDS.flat().length)
    },
  )

  it('stores in 8 bits what is looked up and the output head, in 4 what rows are multiplied by, and leaves the rest', async () => {
    const { modules } = await inspect(await cidOf('stories260k', 'q4'), { store: assets.store })
    const dtypes = new Map(modules.flatMap(({ tensors }) => tensors.map(({ name, dtype, shape }) => [name, `${dtype} ${shape.join('x')}`])))
    const shown = (key: string) => [dtypes.get(`model.${key}`), dtypes.get(`model.${key}_scale`)]
    expect(shown('embed_tokens.weight')).toEqual(['I8 512x64', 'F16 512x2'])
    expect(dtypes.has('lm_head.weight')).toBe(false)
    expect(shown('layers.0.self_attn.q_proj.weight')).toEqual(['U8 64x32', 'F16 64x2'])
    expect(shown('layers.0.mlp.down_proj.weight')).toEqual(['F32 64x172', undefined]) // 172 is no multiple of 32
    expect(shown('layers.0.input_layernorm.weight')).toEqual(['F32 64', undefined])
    const gpt2 = await inspect(await cidOf('tiny-gpt2', 'q4'), { store: assets.store })
    const conv1d = gpt2.modules.find(({ key }) => key === 'transformer.h.0.attn.c_attn')!
    expect(conv1d.dtypes).toEqual(['F32'])
    // whole numbers count as the parameters that they are, scales as none
    const keep = await inspect(await cidOf('stories260k', 'keep'), { store: assets.store })
    expect((await inspect(await cidOf('stories260k', 'q4'), { store: assets.store })).parameters).toBe(keep.parameters)
  })

  it('config.json is copied unchanged; sharded or not, the same CID; another dtype is another asset', async () => {
    const cids = await Promise.all(DTYPES.map((dtype) => cidOf('tiny-llama', dtype)))
    expect(new Set(cids).size).toBe(4)
    await using folder = await temporary()
    await fragment(sharedModel('tiny-llama')!, { out: `${folder.path}/asset`, dtype: 'q8' })
    const config = await readFile(`${sharedModel('tiny-llama')}/config.json`)
    expect((await readFile(`${folder.path}/asset/config.json`)).equals(config)).toBe(true)
  })

  it('refuses a dtype that is none, a family that is not known, and a name that is taken', async () => {
    await using folder = await temporary()
    const out = `${folder.path}/out`
    const message = (text: string) => expect.stringContaining(text)
    await expect(fragment(sharedModel('tiny-llama')!, { out, dtype: 'q5' as never })).rejects.toMatchObject({
      code: 'BAD_USAGE',
      message: message('keep, bf16, f16, q8, q4'),
    })
    const unknown = `${folder.path}/unknown`
    await cp(sharedModel('tiny-bert')!, unknown, { recursive: true })
    await writeFile(`${unknown}/config.json`, '{"model_type": "nobody knows"}')
    await expect(fragment(unknown, { out, dtype: 'q8' })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: message('use the dtype keep, bf16 or f16'),
    })
    await fragment(unknown, { out, dtype: 'bf16' })
  })
})
