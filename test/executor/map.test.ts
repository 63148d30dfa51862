import { copyFile, open } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fragment, loadModel } from '../../src/api/index.js'
import { openAsset } from '../../src/store/open-asset.js'
import { idTensor, type TestStore, testStore } from './assets.js'
import { ENGINES } from './engines.js'

const DEMO = fileURLToPath(new URL('../../../models/demo', import.meta.url))
const IDS = idTensor([[5, 6, 7]])

describe('mapped weights', () => {
  let assets: TestStore
  const cids = new Map<string, string>()
  beforeAll(async () => {
    assets = await testStore()
    for (const dtype of ['keep', 'q8', 'q4'] as const) cids.set(dtype, (await fragment(DEMO, { store: assets.store, dtype })).cid)
  })
  afterAll(() => assets.remove())

  it.runIf(ENGINES.includes('native')).each(['keep', 'q8', 'q4'])('%s: give the same bits, and none is held', async (dtype) => {
    const cid = cids.get(dtype)!
    const bits = async (map: boolean) => {
      await using model = await loadModel(cid, { store: assets.store, map })
      const { logits } = await model.run({ input_ids: IDS })
      const ids: number[] = []
      for await (const { tokenId } of model.generate('4 April 1999', { maxTokens: 12 })) ids.push(tokenId)
      return { logits: logits!.data, ids, stats: await model.stats(), modules: await model.modules() }
    }
    const [wanted, found] = [await bits(false), await bits(true)]
    expect(found.logits).toEqual(wanted.logits)
    expect(found.ids).toEqual(wanted.ids)
    const { stats } = found
    const weightBytes = wanted.stats.pinnedBytes
    // Norms and the like are held all the same.
    expect(stats.residentBytes).toBeGreaterThan(0)
    for (const bytes of [stats.residentBytes, stats.budgetBytes, stats.pinnedBytes]) expect(bytes).toBeLessThan(weightBytes / 10)
    expect(stats.diskBytes).toBeLessThan(wanted.stats.diskBytes - weightBytes * 0.9)
    expect(stats.streamedBytesPerPass).toBe(0)
    expect(found.modules.find(({ key }) => key.endsWith('up_proj'))!.resident).toBe(false)
  })

  it.runIf(ENGINES.includes('native'))('that are damaged on disk are an error, never an answer', async () => {
    const cid = cids.get('q8')!
    await using asset = await openAsset(cid, async () => assets.store)
    const path = (await asset.placeOf(asset.manifest.files.get('modules/model/layers/1/mlp/up_proj.safetensors')!)).path
    await copyFile(path, `${path}.kept`)
    const handle = await open(path, 'r+')
    await handle.write(Buffer.of(0xff, 0x00, 0xff), 0, 3, 9000)
    await handle.close()
    await using model = await loadModel(cid, { store: assets.store, map: true })
    for (let pass = 0; pass < 2; pass++)
      await expect(model.run({ input_ids: IDS })).rejects.toMatchObject({ code: 'CORRUPT', message: expect.stringContaining('up_proj') })
    await copyFile(`${path}.kept`, path)
    await using mended = await loadModel(cid, { store: assets.store, map: true })
    await mended.run({ input_ids: IDS })
  })

  it('have no budget, and are of the native engine alone', async () => {
    const load = (options: object) => loadModel(cids.get('keep')!, { store: assets.store, ...options })
    await expect(load({ map: true, memory: '1MiB' })).rejects.toMatchObject({
      code: 'BAD_USAGE',
      message: expect.stringContaining('within a budget'),
    })
    await expect(load({ map: 'yes' })).rejects.toMatchObject({ code: 'BAD_USAGE' })
    await expect(load({ map: true, engine: 'onnx' })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('without map'),
    })
  })
})
