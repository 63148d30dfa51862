import { cp, readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fragment, loadModel, openStore, type Store, seal } from '../../src/api/index.js'
import { fragmentFor, idTensor, worstDifference } from '../executor/assets.js'
import { ENGINES } from '../executor/engines.js'
import { temporary } from '../sources/files.js'
import { hasTransformers, runScript } from './python.js'
import { VARIANTS } from './variants.js'

/** The numbers of a nested list, in order. */
const flat = (list: unknown): number[] => [list].flat(Number.POSITIVE_INFINITY) as number[]

describe.runIf(hasTransformers())('variants of architectures give what transformers gives', () => {
  let folder: Awaited<ReturnType<typeof temporary>>
  let store: Store
  beforeAll(async () => {
    folder = await temporary()
    store = await openStore(`${folder.path}/store`)
    runScript('variant-goldens.py', [folder.path, JSON.stringify(VARIANTS)])
  }, 600_000)
  afterAll(() => folder[Symbol.asyncDispose]())

  it.each(VARIANTS.map((variant) => [variant.name, variant] as const))('%s', { timeout: 120_000 }, async (name, variant) => {
    const golden = JSON.parse(await readFile(`${folder.path}/${name}/golden.json`, 'utf8'))
    for (const engine of ENGINES) {
      const cid = await fragmentFor(`${folder.path}/${name}`, store, engine)
      await using model = await loadModel(cid, { store, engine: engine === 'onnx' ? 'onnx' : 'auto' })
      if (!variant.mixed) expect((await model.stats()).engine).toBe(engine)
      const outputs = await model.run({
        ...(variant.ids && { input_ids: idTensor(variant.ids) }),
        ...(variant.mask && { attention_mask: idTensor(variant.mask) }),
        ...(variant.decoder_ids && { decoder_input_ids: idTensor(variant.decoder_ids) }),
        ...(variant.pixels && { pixel_values: { type: 'float32', data: Float32Array.from(golden.pixels), dims: variant.pixels } }),
      })
      const found = (outputs.logits ?? outputs.last_hidden_state)!.data as Float32Array
      expect(worstDifference(found, flat(golden.output))).toBeLessThan(1e-4)
      if (variant.generate === undefined) continue
      const tokens: number[] = []
      for await (const { tokenId } of model.generate([...variant.ids![0]!], {
        maxTokens: variant.generate,
        ignoreEos: true,
        promptChunk: 5,
      }))
        tokens.push(tokenId)
      expect(tokens).toEqual(golden.greedy)
    }
  })

  it.each(VARIANTS.filter(({ live }) => live).map(({ name }) => name))(
    '%s: the same asset of the module as it runs',
    { timeout: 120_000 },
    async (name) => {
      const place = `${folder.path}/${name}`
      const saved = (await fragment(place, { out: `${place}/saved` })).cid
      expect((await fragment(`${place}/live`, { out: `${place}/loaded` })).cid).toBe(saved)
      runScript('fragment.py', [`${place}/live/pytorch_model.bin`, `${place}/sealed`, '--config', `${place}/config.json`])
      await cp(`${place}/generation_config.json`, `${place}/sealed/generation_config.json`).catch(() => undefined)
      expect((await seal(`${place}/sealed`)).cid).toBe(saved)
    },
  )
})
