import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadModel, plan } from '../../src/api/index.js'
import { sharedModel } from '../shared.js'
import { idTensor, type TestStore, testStore } from './assets.js'
import { ENGINES } from './engines.js'

const here = ENGINES.includes('mixed') && sharedModel('stories260k') !== undefined

describe.runIf(here)('generations in both engines', () => {
  let assets: TestStore
  let cid: string
  beforeAll(async () => {
    assets = await testStore()
    cid = await assets.cid('stories260k', 'mixed')
  })
  afterAll(() => assets.remove())

  const smallest = async () => ({ store: assets.store, memory: (await plan(cid, { store: assets.store })).minimum })

  it('that take turns each get what they would get alone, with caches in both; passes of the whole graph between them too', async () => {
    await using model = await loadModel(cid, await smallest())
    const tokens = async (prompt: number[]) => {
      const ids: number[] = []
      for await (const { tokenId } of model.generate(prompt, { maxTokens: 12, ignoreEos: true, promptChunk: 3 })) ids.push(tokenId)
      return ids
    }
    const prompts = Array.from({ length: 5 }, (_, at) => [
      1,
      ...Array.from({ length: 1 + 3 * at }, (_, i) => 3 + ((at * 31 + i * 17) % 500)),
    ])
    const alone: number[][] = []
    for (const prompt of prompts) alone.push(await tokens(prompt))
    const rows = idTensor([prompts[4]!])
    const { logits } = await model.run({ input_ids: rows })
    const passes = Promise.all(Array.from({ length: 6 }, () => model.run({ input_ids: rows })))
    expect(await Promise.all(prompts.map(tokens))).toEqual(alone)
    for (const outputs of await passes) expect(outputs.logits!.data).toEqual(logits!.data)
    expect((await model.stats()).stateBytes).toBe(0)
    await using other = await loadModel(cid, { store: assets.store, engine: 'onnx' })
    const same: number[] = []
    for await (const { tokenId } of other.generate(prompts[4]!, { maxTokens: 12, ignoreEos: true })) same.push(tokenId)
    expect(alone[4]).toEqual(same)
  })

  it('of which some leave or abort do not disturb the others, and free their caches', async () => {
    await using model = await loadModel(cid, await smallest())
    const tokens = async (leaveAt: number, signal?: AbortSignal, abort?: () => void) => {
      const ids: number[] = []
      for await (const { tokenId } of model.generate([1, 403, 407], { maxTokens: 15, ignoreEos: true, signal })) {
        ids.push(tokenId)
        if (ids.length === leaveAt && !abort) break
        // In the middle of a pass: the next token is asked for already.
        if (ids.length === leaveAt) setTimeout(() => abort!(), 1)
      }
      return ids
    }
    const wanted = await tokens(15)
    const outcomes = await Promise.allSettled(
      Array.from({ length: 9 }, (_, at) => {
        const controller = new AbortController()
        if (at % 3 === 0) return tokens(2 + at, controller.signal, () => controller.abort())
        return tokens(at % 3 === 1 ? 2 + at : 15)
      }),
    )
    for (const [at, outcome] of outcomes.entries()) {
      if (at % 3 === 0) expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'ABORTED' } })
      else expect(outcome).toMatchObject({ status: 'fulfilled', value: at % 3 === 1 ? wanted.slice(0, 2 + at) : wanted })
    }
    expect((await model.stats()).stateBytes).toBe(0)
    expect(await tokens(15)).toEqual(wanted)
  })

  it('closed in the middle of passes end with a typed error, and the process goes on', async () => {
    const options = await smallest()
    for (let round = 0; round < 5; round++) {
      const model = await loadModel(cid, options)
      const passes = Promise.allSettled(Array.from({ length: 6 }, () => model.run({ input_ids: idTensor([[1, 2, 3]]) })))
      const generation = (async () => {
        for await (const _ of model.generate([1, 5], { ignoreEos: true, maxTokens: 100 }));
      })()
      const ended = expect(generation).rejects.toMatchObject({ code: 'CLOSED' })
      await new Promise((resolve) => setTimeout(resolve, round))
      await model.close()
      for (const outcome of await passes) if (outcome.status === 'rejected') expect(outcome.reason.code).toMatch(/^(CLOSED|ABORTED)$/)
      await ended
    }
  })
})
