import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type LoadOptions, loadModel, plan } from '../../src/api/index.js'
import { type Addon, findAddon } from '../../src/engines/native/addon.js'
import { sharedModel } from '../shared.js'
import { idTensor, type TestStore, testStore } from './assets.js'
import { ENGINES } from './engines.js'

const here = sharedModel('stories260k') !== undefined && ENGINES.includes('native')
const NAMES = ['stories260k', 'tiny-llama', 'tiny-qwen3', 'tiny-gpt2', 'tiny-bert']
const IDS = [
  [1, 403, 407, 261, 378, 9, 4, 31, 2, 77, 300],
  [2, 17, 407, 5, 3, 8, 41, 3, 21, 7, 30],
].map((row) => row.map((id) => id % 256))

describe.runIf(here)('the native engine', () => {
  let assets: TestStore
  beforeAll(async () => {
    assets = await testStore()
  })
  afterAll(() => assets.remove())

  /** The bits of all outputs of one pass. */
  async function bits(name: string, options: LoadOptions, rows: number[][] = IDS): Promise<Map<string, Buffer>> {
    await using model = await loadModel(await assets.cid(name), { store: assets.store, engine: 'native', ...options })
    expect((await model.stats()).engine).toBe('native')
    const outputs = await model.run({ input_ids: idTensor(rows) })
    return new Map(Object.entries(outputs).map(([key, tensor]) => [key, Buffer.from((tensor.data as Float32Array).slice().buffer)]))
  }

  it.each(NAMES)('%s: gives the same bits whatever the threads, the instructions and the budget', async (name) => {
    const wanted = await bits(name, { threads: 1 })
    const { minimum } = await plan(await assets.cid(name), { store: assets.store, engine: 'native' })
    const others: LoadOptions[] = [{ threads: 2 }, { threads: 5 }, { memory: minimum }, { memory: Math.floor(minimum * 1.5), threads: 3 }]
    for (const instructionSet of (findAddon() as Addon).instructionSets()) others.push({ instructionSet })
    for (const other of others) expect(await bits(name, other)).toEqual(wanted)
  })

  it('gives a row the same bits alone and among sixteen', async () => {
    const row = IDS[0]!.slice(0, 1)
    const many = Array.from({ length: 16 }, (_, at) => (at === 7 ? row : [(at * 37) % 256]))
    const [alone, among] = [await bits('stories260k', {}, [row]), await bits('stories260k', {}, many)]
    const size = alone.get('logits')!.byteLength
    expect(among.get('logits')!.subarray(7 * size, 8 * size)).toEqual(alone.get('logits'))
  })

  it('closed in the middle of a pass, it ends with a typed error and the process goes on', async () => {
    const cid = await assets.cid('stories260k')
    for (let round = 0; round < 5; round++) {
      const { minimum } = await plan(cid, { store: assets.store, engine: 'native' })
      const model = await loadModel(cid, { store: assets.store, engine: 'native', memory: minimum })
      const passes = Promise.allSettled(Array.from({ length: 8 }, () => model.run({ input_ids: idTensor(IDS) })))
      await model.close()
      for (const outcome of await passes) if (outcome.status === 'rejected') expect(outcome.reason.code).toMatch(/^(CLOSED|ABORTED)$/)
    }
  })
})
