import { readdirSync, readFileSync } from 'node:fs'
import { copyFile, mkdtemp, rename, rm, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadModel, type Model, plan } from '../../src/api/index.js'
import { openAsset } from '../../src/store/open-asset.js'
import { fragmentFor, idTensor, type TestStore, testStore } from './assets.js'
import { choiceOf, ENGINES } from './engines.js'

const DEMO = fileURLToPath(new URL('../../../models/demo', import.meta.url))
const IDS = idTensor([[5, 6, 7]])

describe.each(ENGINES)('in %s a process that runs models survives', (engine) => {
  let assets: TestStore
  let cid: string
  let minimum: number
  let path: string
  let kept: string
  const load = (options: Parameters<typeof loadModel>[1] = {}) =>
    loadModel(cid, { store: assets.store, engine: choiceOf(engine), ...options })
  beforeAll(async () => {
    assets = await testStore()
    cid = await fragmentFor(DEMO, assets.store, engine)
    minimum = (await plan(cid, { store: assets.store, engine: choiceOf(engine) })).minimum
    await using asset = await openAsset(cid, async () => assets.store)
    path = (await asset.placeOf(asset.manifest.files.get('modules/model/layers/1/mlp/up_proj.safetensors')!)).path
    kept = join(await mkdtemp(join(tmpdir(), 'masset-test-')), 'kept')
    await copyFile(path, kept)
  })
  afterAll(async () => {
    await assets.remove()
    await rm(join(kept, '..'), { recursive: true })
  })

  const logits = async (model: Model) => (await model.run({ input_ids: IDS })).logits!.data
  const tokens = async (model: Model, signal?: AbortSignal) => {
    const ids: number[] = []
    for await (const { tokenId } of model.generate([5, 6, 7], { maxTokens: 12, ignoreEos: true, signal })) ids.push(tokenId)
    return ids
  }

  it('a file cut short under it: a typed error that names the file, the weights right again once the file is', async () => {
    await using model = await load({ memory: minimum })
    const wanted = await logits(model)
    for (const size of [0, 4096, 5000]) {
      await truncate(path, size)
      try {
        // What was read ahead before may serve one more pass.
        await logits(model).catch(() => undefined)
        await expect(logits(model)).rejects.toMatchObject({ code: 'CORRUPT', message: expect.stringContaining('up_proj.safetensors') })
        // A model that is only now loaded fails as clearly, while it loads or when it runs.
        const fresh = load({ memory: minimum }).then(async (other) => {
          await using _ = other
          return await logits(other)
        })
        await expect(fresh).rejects.toMatchObject({ code: 'CORRUPT' })
      } finally {
        // Over what there is: the same file, as it was.
        await copyFile(kept, path)
      }
      expect(await logits(model)).toEqual(wanted)
    }
  })

  it('a file that is replaced or taken away under it: the right answer or a typed error', async () => {
    await using model = await load({ memory: minimum })
    const wanted = await logits(model)
    await rename(path, `${path}.away`)
    for (let pass = 0; pass < 3; pass++)
      await logits(model).then(
        (found) => expect(found).toEqual(wanted),
        (error) => expect(error).toMatchObject({ code: 'NOT_FOUND', message: expect.stringContaining('up_proj.safetensors') }),
      )
    await copyFile(`${path}.away`, path)
    await truncate(path, 5000)
    for (let pass = 0; pass < 3; pass++)
      await logits(model).then(
        (found) => expect(found).toEqual(wanted),
        (error) => expect(error).toMatchObject({ code: 'CORRUPT' }),
      )
    await rename(`${path}.away`, path)
    await using again = await load({ memory: minimum })
    expect(await logits(again)).toEqual(wanted)
  })

  it('generations that are aborted in mid-read, one after the other: the next one says what the first did', async () => {
    await using model = await load({ memory: minimum })
    const wanted = await tokens(model)
    let aborted = 0
    for (let round = 0; round < 30; round++) {
      const controller = new AbortController()
      const timer = setTimeout(() => controller.abort(), round)
      await tokens(model, controller.signal).then(
        (found) => expect(found).toEqual(wanted),
        (error) => {
          aborted += 1
          expect(error).toMatchObject({ code: 'ABORTED' })
        },
      )
      clearTimeout(timer)
    }
    expect(aborted).toBeGreaterThan(0)
    expect(await tokens(model)).toEqual(wanted)
    expect((await model.stats()).stateBytes).toBe(0)
  })

  it.runIf(process.platform === 'linux')(
    'loads, aborted or not, runs and closings without end: no file, thread, mark or memory is left',
    async () => {
      await using _executor = await load()
      const cycle = async (round: number) => {
        const controller = new AbortController()
        if (round % 3 === 2) setTimeout(() => controller.abort(), (round / 3) % 12)
        try {
          await using model = await load({ memory: round % 2 ? minimum : '10MB', signal: controller.signal })
          await tokens(model, controller.signal)
        } catch (error) {
          expect(error).toMatchObject({ code: 'ABORTED' })
        }
      }
      const state = () => ({
        files: readdirSync('/proc/self/fd').length,
        threads: readdirSync('/proc/self/task').length,
        marks: readdirSync(assets.store.layout.uses).length,
        bytes: Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]) * 1024,
      })
      const rounds = engine === 'native' ? 150 : 30
      for (let round = 0; round < rounds / 2; round++) await cycle(round)
      const before = state()
      for (let round = 0; round < rounds; round++) await cycle(round)
      const after = state()
      expect(after.files).toBeLessThanOrEqual(before.files + 1)
      expect(after.threads).toBeLessThanOrEqual(before.threads)
      expect(after.marks).toBe(before.marks)
      // The weights of the loads with the larger budget alone are 100 MB. ONNX Runtime's own memory is not ours to bound.
      if (engine === 'native') expect(after.bytes - before.bytes).toBeLessThan(30e6)
    },
  )
})
