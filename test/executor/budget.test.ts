import { open } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadModel, plan } from '../../src/api/index.js'
import { openAsset } from '../../src/store/open-asset.js'
import { sharedModel } from '../shared.js'
import { golden, idTensor, type TestStore, testStore } from './assets.js'
import { choiceOf, ENGINES } from './engines.js'

const here = sharedModel('stories260k') !== undefined

describe.runIf(here).each(ENGINES)('a memory budget in %s', (engine) => {
  const choice = choiceOf(engine)
  let assets: TestStore
  beforeAll(async () => {
    assets = await testStore()
  })
  afterAll(() => assets.remove())

  it.each([
    'stories260k',
    'tiny-llama',
    'tiny-gpt2',
    'tiny-qwen3',
    'tiny-bert',
    'tiny-smollm3',
    'tiny-phi3',
    'tiny-gemma2',
    'tiny-gemma3',
    'tiny-gpt-neox',
    'tiny-roberta',
    'tiny-distilbert',
  ])('%s: 100, 60 and 30 percent of the weights give the same bits, and never hold more', async (name) => {
    const cid = await assets.cid(name, engine)
    const ids = (await golden<{ input_ids?: number[][] }>(name)).input_ids ?? [[1, 403, 407, 261, 378]]
    const { weightBytes, minimum } = await plan(cid, { store: assets.store, engine: choice })
    const results: Buffer[][] = []
    for (const share of [1, 0.6, 0.3]) {
      const memory = Math.max(Math.floor(weightBytes * share), minimum)
      await using model = await loadModel(cid, { store: assets.store, engine: choice, memory })
      const outputs = await model.run({ input_ids: idTensor(ids) })
      await model.run({ input_ids: idTensor(ids.slice(0, 1)) })
      results.push(Object.values(outputs).map((tensor) => Buffer.from((tensor.data as Float32Array).slice().buffer)))
      const stats = await model.stats()
      expect(stats.peakResidentBytes).toBeLessThanOrEqual(memory)
      expect(stats.residentBytes).toBeLessThanOrEqual(memory)
      if (share < 1 && memory < weightBytes) expect(stats.streamedBytesPerPass).toBeGreaterThan(0)
    }
    for (const other of results.slice(1)) for (const [at, bytes] of other.entries()) expect(bytes.equals(results[0]![at]!)).toBe(true)
  })

  it('reads for a decode token exactly the bytes that are not pinned', async () => {
    const cid = await assets.cid('stories260k', engine)
    const { weightBytes } = await plan(cid, { store: assets.store, engine: choice })
    for (const share of [1, 0.6, 0.3]) {
      await using model = await loadModel(cid, { store: assets.store, engine: choice, memory: Math.floor(weightBytes * share) })
      const read = async (maxTokens: number) => {
        const before = (await model.stats()).bytesRead
        for await (const _ of model.generate([1, 403, 407], { maxTokens, ignoreEos: true }));
        return (await model.stats()).bytesRead - before
      }
      await read(1)
      const counts: number[] = []
      for (let tokens = 1; tokens <= 5; tokens++) counts.push(await read(tokens))
      const { streamedBytesPerPass, pinnedBytes } = await model.stats()
      // The embedding is tied to the head: a row of it is read alone only while it is not pinned in memory with its tile or as a whole.
      const modules = await model.modules()
      const whole = modules.find(({ key }) => key === 'model.embed_tokens')!.resident
      const row = pinnedBytes > 0 && (whole || engine === 'native') ? [0, 64 * 4] : [64 * 4]
      for (let token = 1; token < counts.length; token++)
        expect(row.map((bytes) => streamedBytesPerPass + bytes)).toContain(counts[token]! - counts[token - 1]!)
      expect(streamedBytesPerPass).toBe(share === 1 ? 0 : weightBytes - pinnedBytes)
    }
  })

  it('reads of an untied embedding only the pages that hold its rows', async () => {
    const cid = await assets.cid('tiny-llama', engine)
    const ids = [3, 200, 3]
    await using model = await loadModel(cid, { store: assets.store, engine: choice, memory: '64MiB' })
    await model.run({ input_ids: idTensor([ids]) })
    const { bytesRead: before, diskBytes: diskBefore } = await model.stats()
    await model.run({ input_ids: idTensor([ids]) })
    const { bytesRead, diskBytes } = await model.stats()
    expect(bytesRead - before).toBe(2 * 64 * 2) // two different rows of 64 BF16 numbers
    expect(diskBytes - diskBefore).toBe(2 * 4096)
  })

  it('67: below the minimum it refuses, naming the minimum, which is enough', async () => {
    const cid = await assets.cid('stories260k', engine)
    const { minimum } = await plan(cid, { store: assets.store, engine: choice })
    await expect(loadModel(cid, { store: assets.store, engine: choice, memory: minimum - 1 })).rejects.toMatchObject({
      code: 'BUDGET_TOO_SMALL',
      message: expect.stringContaining(`give at least ${minimum} bytes`),
    })
    await using model = await loadModel(cid, { store: assets.store, engine: choice, memory: minimum })
    await model.run({ input_ids: idTensor([[1, 2]]) })
    expect((await model.stats()).peakResidentBytes).toBeLessThanOrEqual(minimum)
  })

  it('two models that share fragments share their bytes, and both answer', async () => {
    const cid = await assets.cid('tiny-llama', engine)
    await using one = await loadModel(cid, { store: assets.store, engine: choice, memory: '1MiB' })
    await using two = await loadModel(cid, { store: assets.store, engine: choice, memory: '1MiB' })
    const [a, b] = await Promise.all([one.run({ input_ids: idTensor([[5, 6]]) }), two.run({ input_ids: idTensor([[5, 6]]) })])
    expect(a.logits!.data).toEqual(b.logits!.data)
    expect((await two.stats()).bytesRead).toBeLessThan((await one.stats()).bytesRead)
  })

  it('53: a weight damaged on disk is an error, never an answer; mended, the model goes on', async () => {
    const cid = await assets.cid('tiny-qwen3', engine)
    const { weightBytes, minimum } = await plan(cid, { store: assets.store, engine: choice })
    const asset = await openAsset(cid, async () => assets.store)
    const file = asset.manifest.files.get('modules/model/layers/1/mlp/up_proj.safetensors')!
    await using model = await loadModel(cid, {
      store: assets.store,
      engine: choice,
      memory: Math.max(minimum, Math.floor(weightBytes * 0.3)),
    })
    const before = await model.run({ input_ids: idTensor([[5, 6]]) })
    const flip = async () => {
      const handle = await open((await asset.placeOf(file)).path, 'r+')
      const byte = Buffer.alloc(1)
      await handle.read(byte, 0, 1, 9000)
      byte[0]! ^= 1
      await handle.write(byte, 0, 1, 9000)
      await handle.close()
    }
    await flip()
    // A copy that was read before the damage may serve one more pass.
    await model.run({ input_ids: idTensor([[5, 6]]) }).catch(() => undefined)
    await expect(model.run({ input_ids: idTensor([[5, 6]]) })).rejects.toMatchObject({
      code: 'CORRUPT',
      message: expect.stringContaining('up_proj'),
    })
    await flip()
    const after = await model.run({ input_ids: idTensor([[5, 6]]) })
    expect(after.logits!.data).toEqual(before.logits!.data)
    expect((await model.stats()).peakResidentBytes).toBeLessThanOrEqual((await model.stats()).budgetBytes)
  })
})
