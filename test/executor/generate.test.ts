import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadModel, type Model } from '../../src/api/index.js'
import { fragmentFor, idTensor, type TestStore, testStore } from './assets.js'
import { choiceOf, ENGINES } from './engines.js'

const DEMO = fileURLToPath(new URL('../../../models/demo', import.meta.url))

describe.each(ENGINES)('generating with the demo model in %s', (engine) => {
  let assets: TestStore
  let model: Model
  beforeAll(async () => {
    assets = await testStore()
    const cid = await fragmentFor(DEMO, assets.store, engine)
    model = await loadModel(cid, { store: assets.store, memory: '900KiB', engine: choiceOf(engine) })
  })
  afterAll(async () => {
    await model.close()
    await assets.remove()
  })

  async function answer(prompt: Parameters<Model['generate']>[0], options: Parameters<Model['generate']>[1] = {}): Promise<string> {
    let text = ''
    for await (const piece of model.generate(prompt, options)) text += piece.text
    return text
  }

  it('rewrites held-out dates, as text and through the chat template', async () => {
    const { sample } = JSON.parse(await readFile(`${DEMO}/dates.json`, 'utf8')) as { sample: { input: string; output: string }[] }
    for (const { input, output } of sample) expect(await answer(input)).toBe(output)
    expect(await answer([{ role: 'user', content: 'the 3rd of March 2021' }])).toBe('2021-03-03')
  })

  it('takes turns among concurrent calls, and each gets its own answer', async () => {
    const order: number[] = []
    const ask = async (who: number, prompt: string) => {
      let text = ''
      for await (const piece of model.generate(prompt)) {
        order.push(who)
        text += piece.text
      }
      return text
    }
    expect(await Promise.all([ask(0, 'the 3rd of March 2021'), ask(1, '4 April 1999')])).toEqual(['2021-03-03', '1999-04-04'])
    const first = order.slice(0, 12)
    expect(first.filter((who) => who === 0).length).toBeGreaterThanOrEqual(4)
    expect(first.filter((who) => who === 1).length).toBeGreaterThanOrEqual(4)
  })

  it('64: frees the cache at once when the consumer leaves or aborts', async () => {
    for await (const _ of model.generate('the 3rd of March 2021')) {
      expect((await model.stats()).stateBytes).toBeGreaterThan(0)
      break
    }
    expect((await model.stats()).stateBytes).toBe(0)
    const controller = new AbortController()
    const pulled = (async () => {
      for await (const _ of model.generate('the 3rd of March 2021', { signal: controller.signal, ignoreEos: true, maxTokens: 100 }))
        controller.abort()
    })()
    await expect(pulled).rejects.toMatchObject({ code: 'ABORTED' })
    expect((await model.stats()).stateBytes).toBe(0)
    expect(await answer('4 April 1999')).toBe('1999-04-04')
  })

  it('stops at a stop text, at maxTokens, and at the context length', async () => {
    expect(await answer('4 April 1999', { stop: '-04' })).toBe('1999')
    expect(await answer('4 April 1999', { stop: ['zz', '9-0'] })).toBe('199')
    expect(await answer('4 April 1999', { maxTokens: 3 })).toBe('199')
    expect(await answer('4 April 1999', { maxTokens: 0 })).toBe('')
    let tokens = 0
    for await (const _ of model.generate([1, 5, 3], { maxTokens: 10_000, ignoreEos: true })) tokens += 1
    expect(tokens).toBe(128 - 3)
  })

  it('draws the same with the same seed', async () => {
    const options = { temperature: 2, seed: 7, maxTokens: 30, ignoreEos: true }
    const first = await answer('4 April 1999', options)
    expect(await answer('4 April 1999', options)).toBe(first)
    expect(await answer('4 April 1999', { ...options, seed: 8 })).not.toBe(first)
    expect(await answer('4 April 1999', { temperature: 1, topK: 1 })).toBe('1999-04-04')
  })

  it.each([
    ['a negative temperature', { temperature: -1 }, 'temperature'],
    ['NaN', { topP: Number.NaN }, 'topP'],
    ['no top k', { topK: 0 }, 'topK'],
    ['a huge maxTokens', { maxTokens: 1e300 }, 'maxTokens'],
    ['a fraction of a chunk', { promptChunk: 0.5 }, 'promptChunk'],
    ['an empty stop', { stop: '' }, 'stop'],
    ['a broken seed', { seed: Number.POSITIVE_INFINITY }, 'seed'],
  ])('63: refuses %s', async (_, options, name) => {
    await expect(answer('4 April 1999', options)).rejects.toMatchObject({ code: 'BAD_INPUT', message: expect.stringContaining(name) })
  })

  it('63: refuses ids outside the vocabulary, wrong shapes, types and names', async () => {
    await expect(answer([1, 49])).rejects.toMatchObject({ code: 'BAD_INPUT' })
    await expect(answer([1, -1])).rejects.toMatchObject({ code: 'BAD_INPUT' })
    await expect(answer([])).rejects.toMatchObject({ code: 'BAD_INPUT' })
    await expect(model.run({ input_ids: idTensor([[1, 4900]]) })).rejects.toMatchObject({
      code: 'BAD_INPUT',
      message: expect.stringContaining('4900'),
    })
    await expect(model.run({})).rejects.toMatchObject({ code: 'BAD_INPUT', message: expect.stringContaining('input_ids is missing') })
    await expect(model.run({ nonsense: idTensor([[1]]) })).rejects.toMatchObject({
      code: 'BAD_INPUT',
      message: expect.stringContaining('nonsense'),
    })
    await expect(model.run({ input_ids: { type: 'float32', data: new Float32Array(1), dims: [1, 1] } })).rejects.toMatchObject({
      code: 'BAD_INPUT',
    })
    await expect(model.run({ input_ids: { type: 'int64', data: new BigInt64Array(3), dims: [1, 2] } })).rejects.toMatchObject({
      code: 'BAD_INPUT',
    })
    expect(await answer('4 April 1999')).toBe('1999-04-04')
  })

  it('refuses every call after close, and closing twice is fine', async () => {
    const other = await loadModel(model.cid, { store: assets.store })
    const pulled = (async () => {
      for await (const _ of other.generate('4 April 1999', { ignoreEos: true, maxTokens: 120 })) await other.close()
    })()
    await pulled.catch((error) => expect(error).toMatchObject({ code: 'CLOSED' }))
    await other.close()
    await expect(other.stats()).rejects.toMatchObject({ code: 'CLOSED' })
    expect(await answer('4 April 1999')).toBe('1999-04-04')
  })
})
