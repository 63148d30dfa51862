import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fragment, loadModel, openStore, plan, type Store } from '../../src/api/index.js'
import { divideGraph } from '../../src/engines/native/divide.js'
import { indexGraph } from '../../src/graph/cut.js'
import { parseGraph } from '../../src/graph/parse.js'
import { PACKED, type PackedType } from '../../src/sources/gguf/types.js'
import { sharedModel } from '../shared.js'
import { temporary } from '../sources/files.js'
import { smallModel } from '../sources/gguf-models.js'
import { fragmentFor, idTensor, worstDifference } from './assets.js'
import { choiceOf, ENGINES } from './engines.js'
import { stockLogits } from './stock.js'

const shared = sharedModel('stories260k-gguf')
const FILES = ['stories260k-f32.gguf', 'stories260k-f16.gguf', 'stories260k-q8_0.gguf', 'stories260k-q4_0.gguf']

describe.runIf(shared).each(ENGINES)('GGUF in %s', (engine) => {
  it.each(FILES)('%s gives the greedy tokens and the text of llama.cpp', async (name) => {
    const { files } = JSON.parse(await readFile(`${shared}/golden.json`, 'utf8'))
    const { prompt_ids: prompt, greedy_ids: greedy, text } = files[name]
    await using folder = await temporary()
    const store = await openStore(folder.path)
    const cid = await fragmentFor(`${shared}/${name}`, store, engine)
    await using model = await loadModel(cid, { store, engine: choiceOf(engine) })
    expect((await model.stats()).engine).toBe(engine)
    for (const asked of [prompt, 'Once upon a time, there was a little girl']) {
      const [tokens, written]: [number[], string[]] = [[], []]
      for await (const { tokenId, text } of model.generate(asked, { maxTokens: greedy.length, ignoreEos: true })) {
        tokens.push(tokenId)
        written.push(text)
      }
      expect(tokens).toEqual(greedy)
      expect(written.join('').trimStart()).toBe(text)
    }
  })
})

const IDS = [
  [1, 40, 7, 26, 37, 9, 4, 31, 2, 17, 30],
  [2, 17, 47, 5, 3, 8, 41, 3, 21, 7, 30],
]

describe('weights that GGUF packs', () => {
  let folder: Awaited<ReturnType<typeof temporary>>
  let store: Store
  beforeAll(async () => {
    folder = await temporary()
    store = await openStore(`${folder.path}/store`)
  })
  afterAll(() => folder[Symbol.asyncDispose]())

  async function logits(cid: string, engine: 'onnx' | 'auto', memory?: number): Promise<Float32Array> {
    await using model = await loadModel(cid, { store, engine, ...(memory !== undefined && { memory }) })
    const { logits } = await model.run({ input_ids: idTensor(IDS) })
    return logits!.data as Float32Array
  }

  const gpt2: readonly PackedType[] = ['Q4_0', 'Q5_1', 'Q6_K']
  const cases = [
    ...(Object.keys(PACKED) as PackedType[]).map((type) => [type, 'llama'] as const),
    ...gpt2.map((type) => [type, 'gpt2'] as const),
  ]
  it.each(cases)('%s of %s: the results of the float32 that they stand for, within any budget', async (type, architecture) => {
    const small = await folder.write('small.gguf', smallModel(type, architecture))
    const { cid } = await fragment(small, { store })
    const exact = await fragment(await folder.write('exact.gguf', smallModel('F32', architecture, type)), { store })
    const wanted = await logits(exact.cid, 'onnx')
    const [largest, smallest] = [Math.max(...wanted), Math.min(...wanted)]
    expect(largest - smallest).toBeGreaterThan(0.1)
    // Weights at random make logits of any size.
    const near = 1e-5 * Math.max(10, largest, -smallest)
    const found = await logits(cid, 'onnx')
    expect(worstDifference(found, wanted)).toBeLessThan(near)
    expect(worstDifference(await logits(cid, 'auto'), wanted)).toBeLessThan(near)
    const { weightBytes, minimum } = await plan(cid, { store, engine: 'onnx' })
    const tight = await logits(cid, 'onnx', Math.max(minimum, Math.floor(weightBytes * 0.3)))
    expect(worstDifference(tight, found)).toBe(0)
    await fragment(small, { out: `${folder.path}/${type}-${architecture}` })
    const stock = await stockLogits(`${folder.path}/${type}-${architecture}`, IDS)
    if (stock) expect(worstDifference(stock, wanted)).toBeLessThan(near)
  })

  it('that the native engine does not know are made into floats beside their product, and never cross to it', async () => {
    const out = `${folder.path}/divided`
    await fragment(await folder.write('small.gguf', smallModel('Q6_K')), { out })
    const { segments } = divideGraph(indexGraph(parseGraph(await readFile(`${out}/model.onnx`))))
    const operators = segments.filter(({ engine }) => engine === 'native').map(({ graph }) => graph.nodes.map(({ opType }) => opType))
    expect(operators).toEqual([['RotaryEmbedding', 'RotaryEmbedding', 'Attention']])
  })
})
