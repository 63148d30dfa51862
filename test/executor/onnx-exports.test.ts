import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fragment, inspect, loadModel, plan } from '../../src/api/index.js'
import { sharedModel } from '../shared.js'
import { temporary } from '../sources/files.js'
import { worstDifference } from './assets.js'
import { choiceOf, ENGINES } from './engines.js'

interface Values {
  readonly [name: string]: { readonly dims: number[]; readonly data: number[]; readonly dtype: 'int64' | 'float32' }
}

const exports = sharedModel('onnx-exports')
const MODELS = ['cnn', 'lstm', 'bert'].flatMap((name) => ['torchscript', 'dynamo'].map((exporter): [string, string] => [name, exporter]))
// Batch normalisation is folded into this one, so its weights are others than those of the checkpoint.
const FOLDED = ['stem.0']
// Of the checkpoint, but not of what was exported.
const UNUSED = /^stem\.1$|pooler/

describe.runIf(exports).each(MODELS)('%s as the %s exporter of PyTorch has it', (name, exporter) => {
  const source = join(exports!, name)
  let folder: Awaited<ReturnType<typeof temporary>>
  let asset: string
  beforeAll(async () => {
    folder = await temporary()
    asset = `${folder.path}/asset`
    await fragment(`${source}/${exporter}.onnx`, { out: asset })
  })
  afterAll(() => folder[Symbol.asyncDispose]())

  it('has the fragments of the checkpoint that it came from, with the same CIDs', async () => {
    await fragment(`${source}/pytorch_model.bin`, { out: `${folder.path}/checkpoint` })
    const modulesOf = async (path: string) =>
      new Map(
        (await inspect(path)).modules.filter(({ key }) => !FOLDED.includes(key) && !UNUSED.test(key)).map(({ key, cid }) => [key, cid]),
      )
    const wanted = await modulesOf(`${folder.path}/checkpoint`)
    expect(wanted.size).toBeGreaterThan(2)
    expect(await modulesOf(asset)).toEqual(wanted)
    const folded = (await inspect(asset)).modules.filter(({ key }) => FOLDED.includes(key))
    expect(folded.map(({ path }) => path)).toEqual(name === 'cnn' ? ['modules/stem/0.safetensors'] : [])
  })

  it('says nothing of the machine that it was exported on', async () => {
    const graph = await readFile(`${asset}/model.onnx`, 'latin1')
    for (const word of ['stack_trace', 'site-packages', 'pkg.torch', '.py']) expect(graph).not.toContain(word)
  })

  // What the native engine doesn't know of them is a part of each, so none is wholly native.
  it.each(ENGINES.filter((engine) => engine !== 'native'))(
    'gives the same results in %s, whatever the budget, and as torch within 1e-4',
    async (engine) => {
      const { inputs, outputs }: { inputs: Values; outputs: Values } = JSON.parse(await readFile(`${source}/golden.json`, 'utf8'))
      const choice = choiceOf(engine)
      const { weightBytes, minimum } = await plan(asset, { engine: choice })
      const results: Buffer[] = []
      for (const share of [1, 0.3]) {
        const memory = Math.max(Math.floor(weightBytes * share), minimum)
        await using model = await loadModel(asset, { engine: choice, memory })
        const feeds = Object.entries(inputs).map(([input, { dims, data, dtype }]) => [
          input,
          { type: dtype, dims, data: dtype === 'int64' ? BigInt64Array.from(data, BigInt) : Float32Array.from(data) },
        ])
        const found = await model.run(Object.fromEntries(feeds))
        for (const [output, { dims, data }] of Object.entries(outputs)) {
          expect(found[output]!.dims).toEqual(dims)
          expect(worstDifference(found[output]!.data as Float32Array, data)).toBeLessThan(1e-4)
          results.push(Buffer.from((found[output]!.data as Float32Array).slice().buffer))
        }
        const stats = await model.stats()
        expect(stats.peakResidentBytes).toBeLessThanOrEqual(memory)
        expect(stats.streamedBytesPerPass > 0).toBe(memory < weightBytes)
      }
      for (const result of results) expect(result.equals(results[0]!)).toBe(true)
    },
  )
})
