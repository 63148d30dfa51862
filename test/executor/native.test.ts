import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type LoadOptions, loadModel, plan } from '../../src/api/index.js'
import type { Addon } from '../../src/engines/native/addon.js'
import { findAddon } from '../../src/engines/native/find-addon.js'
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

  it('reads the weights once for all who generate at the same time, and gives each what it would get alone', async () => {
    const cid = await assets.cid('stories260k')
    const { minimum } = await plan(cid, { store: assets.store, engine: 'native' })
    await using model = await loadModel(cid, { store: assets.store, engine: 'native', memory: minimum })
    const prompts = Array.from({ length: 20 }, (_, at) => [
      1,
      ...Array.from({ length: 1 + ((at * 7) % 13) }, (_, i) => 3 + ((at * 31 + i * 17) % 500)),
    ])
    const tokens = async (prompt: number[]) => {
      const ids: number[] = []
      for await (const { tokenId } of model.generate(prompt, { maxTokens: 30, ignoreEos: true })) ids.push(tokenId)
      return ids
    }
    const alone: number[][] = []
    for (const prompt of prompts) alone.push(await tokens(prompt))
    const before = await model.stats()
    expect(await Promise.all(prompts.map(tokens))).toEqual(alone)
    const after = await model.stats()
    // 20 prompts, then 29 more tokens each, of which at most 16 share a pass
    expect(after.passes - before.passes).toBeLessThan(20 + (29 * 20) / 4)
    expect(after.passes - before.passes).toBeGreaterThanOrEqual(20 + (29 * 20) / 16)
    expect(after.tokens - before.tokens).toBe(600)
    expect(after.stateBytes).toBe(0)
  })

  it('keeps those together who generate at the same time: a pass for a token of each', async () => {
    const cid = await assets.cid('stories260k')
    await using model = await loadModel(cid, { store: assets.store, engine: 'native' })
    const streams = Array.from({ length: 4 }, (_, at) => model.generate([1, 2 + at], { maxTokens: 41, ignoreEos: true }))
    for (const stream of streams) await stream.next()
    const before = await model.stats()
    await Promise.all(
      streams.map(async (stream) => {
        for await (const _ of stream);
      }),
    )
    const { passes, tokens } = await model.stats()
    expect(tokens - before.tokens).toBe(160)
    // in two passes each, it would be 80
    expect(passes - before.passes).toBeLessThan(60)
  })

  it('of those who share a pass, one that leaves or aborts does not disturb the others', async () => {
    const cid = await assets.cid('stories260k')
    await using model = await loadModel(cid, { store: assets.store, engine: 'native' })
    const tokens = async (leaveAt: number, signal?: AbortSignal, abort?: () => void) => {
      const ids: number[] = []
      for await (const { tokenId } of model.generate([1, 403, 407], { maxTokens: 40, ignoreEos: true, signal })) {
        ids.push(tokenId)
        if (ids.length === leaveAt) {
          if (!abort) break
          abort()
        }
      }
      return ids
    }
    const wanted = await tokens(40)
    const outcomes = await Promise.allSettled(
      Array.from({ length: 12 }, (_, at) => {
        const controller = new AbortController()
        if (at % 3 === 0) return tokens(5 + at, controller.signal, () => controller.abort())
        return tokens(at % 3 === 1 ? 5 + at : 40)
      }),
    )
    for (const [at, outcome] of outcomes.entries()) {
      if (at % 3 === 0) expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'ABORTED' } })
      else expect(outcome).toMatchObject({ status: 'fulfilled', value: at % 3 === 1 ? wanted.slice(0, 5 + at) : wanted })
    }
    expect((await model.stats()).stateBytes).toBe(0)
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
