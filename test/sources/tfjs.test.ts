import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { exportCar, fragment, inspect, loadModel, openStore, plan, pull, type Store, verify } from '../../src/api/index.js'
import { halfTable } from '../../src/asset/convert/half.js'
import { openCheckpoint } from '../../src/sources/open.js'
import { temporary } from './files.js'
import { floats, modelJson, type TfjsModel, tfjsModels } from './tfjs-files.js'

const CLI = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))
type Folder = Awaited<ReturnType<typeof temporary>>

let models: Record<'layers' | 'graph', TfjsModel>
beforeAll(async () => {
  models = await tfjsModels()
})

async function written(folder: Folder, { files }: TfjsModel): Promise<string> {
  for (const [path, bytes] of files) await folder.write(`model/${path}`, bytes)
  return `${folder.path}/model`
}

interface Header {
  readonly [name: string]: { dtype: string; shape: number[]; data_offsets: [number, number] }
}

/** Every tensor of an asset folder, out of its index and its fragments, by nothing but the format. */
async function tensorsOf(asset: string): Promise<Map<string, { dtype: string; shape: number[]; bytes: Buffer }>> {
  const index = JSON.parse(await readFile(`${asset}/model.safetensors.index.json`, 'utf8'))
  const tensors = new Map()
  for (const [name, path] of Object.entries<string>(index.weight_map)) {
    const file = await readFile(`${asset}/${path}`)
    const start = 8 + Number(file.readBigUInt64LE(0))
    const { dtype, shape, data_offsets: at } = (JSON.parse(file.toString('utf8', 8, start)) as Header)[name]!
    tensors.set(name, { dtype, shape, bytes: file.subarray(start + at[0], start + at[1]) })
  }
  return tensors
}

/** Stored bytes as numbers. */
function numbers(dtype: string, bytes: Buffer): number[] {
  const at = (size: number, read: (offset: number) => number) => Array.from({ length: bytes.length / size }, (_, i) => read(i * size))
  if (dtype === 'F32') return at(4, (i) => bytes.readFloatLE(i))
  if (dtype === 'I32') return at(4, (i) => bytes.readInt32LE(i))
  if (dtype === 'U16') return at(2, (i) => bytes.readUInt16LE(i))
  if (dtype === 'F16') return at(2, (i) => halfTable()[bytes.readUInt16LE(i)]!)
  return [...bytes]
}

describe.each(['layers', 'graph'] as const)('a %s model of TensorFlow.js', (kind) => {
  it('becomes fragments that hold, with its model.json, what TensorFlow.js reads in it', async () => {
    await using folder = await temporary()
    const source = await written(folder, models[kind])
    const asset = `${folder.path}/asset`
    const made = await fragment(source, { out: asset })
    expect(made.note).toBe("It has no graph, so it can't be run: the engine for TensorFlow.js models is not there yet")
    const model = await readFile(`${asset}/model.json`)
    expect(model.equals(models[kind].files.get('model.json')!)).toBe(true)
    expect(JSON.parse(await readFile(`${asset}/asset.json`, 'utf8'))).toMatchObject({ kind: 'model', main: 'model.json' })
    const groups: { weights: { name: string; quantization?: { dtype: string; scale: number; min: number } }[] }[] = JSON.parse(
      model.toString(),
    ).weightsManifest
    const specs = new Map(groups.flatMap(({ weights }) => weights.map((weight) => [weight.name, weight.quantization])))
    const tensors = await tensorsOf(asset)
    expect(tensors.size).toBe(models[kind].weights.length)
    for (const { name, dtype, shape, values } of models[kind].weights) {
      const found = tensors.get(name.replaceAll('/', '.'))!
      const { scale = 1, min = 0, dtype: kept } = specs.get(name) ?? {}
      const round = dtype === 'int32' ? Math.round : Math.fround
      const plain = kept === undefined || kept === 'float16'
      expect(found.shape).toEqual(shape)
      expect(numbers(found.dtype, found.bytes).map((value) => (plain ? value : round(value * scale + min)))).toEqual(values)
    }
  })

  it('is the same asset from its folder and from its model.json, and by the command', async () => {
    await using folder = await temporary()
    const source = await written(folder, models[kind])
    const store = await openStore(`${folder.path}/store`)
    const { cid } = await fragment(source, { store })
    expect((await fragment(`${source}/model.json`, { store })).cid).toBe(cid)
    const { stdout } = await promisify(execFile)(process.execPath, [CLI, 'fragment', `${source}/model.json`, '--out', `${folder.path}/out`])
    expect(stdout.trim().split('\n').at(-1)).toBe(cid)
  })

  it('is inspected and verified like any other, and says in one line why it is not run', async () => {
    await using folder = await temporary()
    const store: Store = await openStore(`${folder.path}/store`)
    const { cid } = await fragment(await written(folder, models[kind]), { store })
    const { modules, parameters } = await inspect(cid, { store })
    expect(parameters).toBe(models[kind].weights.reduce((sum, { values }) => sum + values.length, 0))
    expect(modules.map(({ key }) => key)).toEqual(
      expect.arrayContaining(kind === 'layers' ? ['conv', 'norm', 'lstm', 'head'] : ['model.dense']),
    )
    expect(await verify(cid, { store })).toMatchObject({ damage: [] })
    for (const run of [loadModel, plan])
      await expect(run(cid, { store })).rejects.toMatchObject({
        code: 'UNSUPPORTED',
        message: expect.stringMatching(
          /^Cannot run .*: it is a TensorFlow\.js model \(model\.json\), and the engine for those is not there yet; [^\n]*$/,
        ),
      })
  })
})

it('a model of TensorFlow.js is shared like any other', async () => {
  await using folder = await temporary()
  const [here, there] = [await openStore(`${folder.path}/here`), await openStore(`${folder.path}/there`)]
  const { cid } = await fragment(await written(folder, models.graph), { store: here })
  await exportCar(cid, `${folder.path}/model.car`, { store: here })
  await expect(loadModel(cid, { store: there, sources: [`${folder.path}/model.car`] })).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    message: expect.stringContaining('the engine for those is not there yet'),
  })
  await pull(cid, { store: there, from: [`${folder.path}/model.car`] })
  expect(await verify(cid, { store: there })).toMatchObject({ damage: [] })
  expect(await inspect(cid, { store: there })).toEqual(await inspect(cid, { store: here }))
})

describe('weights of TensorFlow.js', () => {
  it('are found wherever the shards end, within numbers, weights, or between', async () => {
    await using folder = await temporary()
    let models = 0
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(6), { minLength: 1, maxLength: 5 }),
        fc.array(fc.nat(30), { maxLength: 8 }),
        async (counts, cuts) => {
          const total = counts.reduce((sum, count) => sum + count * 4, 0)
          const bytes = Buffer.from(Array.from({ length: total }, (_, at) => at))
          const ends = [...cuts.map((cut) => Math.min(cut, total)).sort((a, b) => a - b), total]
          const name = `m${models++}`
          const paths: string[] = []
          for (const [n, end] of ends.entries()) {
            paths.push(`shard${n}`)
            await folder.write(`${name}/shard${n}`, bytes.subarray(n === 0 ? 0 : ends[n - 1], end))
          }
          const weights = counts.map((count, n) => floats(`w${n}/kernel`, [count]))
          const path = await folder.write(`${name}/model.json`, modelJson([{ paths, weights }]))
          await fragment(path, { out: `${folder.path}/${name}-asset` })
          const tensors = await tensorsOf(`${folder.path}/${name}-asset`)
          const found = counts.map((_, n) => tensors.get(`w${n}.kernel`)!.bytes)
          expect(Buffer.concat(found).equals(bytes)).toBe(true)
        },
      ),
      { numRuns: 12 },
    )
  })

  it('keep their names apart, and no name is a path', async () => {
    await using folder = await temporary()
    await folder.write('a.bin', new Uint8Array(16))
    const names = ['../../up', '__proto__', 'a//b', 'Variable:0']
    const path = await folder.write('model.json', modelJson([{ paths: ['a.bin'], weights: names.map((name) => floats(name, [])) }]))
    const { tensors } = await openCheckpoint(path)
    expect([...tensors.keys()]).toEqual(['......up', '__proto__', 'a..b', 'Variable:0'])
    const { cid } = await fragment(path, { out: `${folder.path}/asset` })
    expect(cid).toMatch(/^bafy/)
    expect((await tensorsOf(`${folder.path}/asset`)).size).toBe(4)
  })

  it('alone, without a structure, are an asset without a program', async () => {
    await using folder = await temporary()
    await folder.write('a.bin', new Uint8Array(4))
    const text = modelJson([{ paths: ['a.bin'], weights: [floats('w', [])] }], { modelTopology: null })
    const made = await fragment(await folder.write('model.json', text), { out: `${folder.path}/asset` })
    expect(made.note).toMatch(/its model.json has no modelTopology$/)
    expect(JSON.parse(await readFile(`${folder.path}/asset/asset.json`, 'utf8')).main).toBeUndefined()
  })

  it('are not converted, since model.json says what they are', async () => {
    await using folder = await temporary()
    const source = await written(folder, models.graph)
    for (const dtype of ['bf16', 'q8'] as const)
      await expect(fragment(source, { out: `${folder.path}/out`, dtype })).rejects.toMatchObject({
        code: 'UNSUPPORTED',
        message: expect.stringContaining('use the dtype keep'),
      })
  })

  it('come after those of a Hugging Face folder, whose other files are copied along', async () => {
    await using folder = await temporary()
    await written(folder, models.layers)
    await folder.write('model/README.md', '# A model')
    await folder.write('model/config.json', '{"model_type": "llama"}')
    await fragment(`${folder.path}/model`, { out: `${folder.path}/asset` })
    const { files, main, config } = JSON.parse(await readFile(`${folder.path}/asset/asset.json`, 'utf8'))
    expect([main, config]).toEqual(['model.json', 'config.json'])
    expect(Object.keys(files)).toEqual(expect.arrayContaining(['README.md', 'config.json', 'model.json']))
    expect(Object.keys(files).filter((path) => path.includes('shard'))).toEqual([])
  })
})
