import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { fragment } from '../../src/api/index.js'
import { openHuggingFace } from '../../src/sources/hf.js'
import { openCheckpoint } from '../../src/sources/open.js'
import { scatter, windowsOf } from '../../src/sources/strided.js'
import { sharedModel } from '../shared.js'
import { checkpointBytes, safetensors, temporary } from './files.js'
import { archive, dict, floats, op, pickle, stacked, tensor } from './torch-files.js'

const square = { elements: 4, shape: [2, 2], strides: [2, 1] }

/** Opens a file with these bytes, by a name that says nothing. */
async function opened(bytes: Uint8Array) {
  await using folder = await temporary()
  const path = await folder.write('weights', bytes)
  const { tensors } = await openCheckpoint(path)
  const file = await readFile(path)
  const values = new Map<string, number[]>()
  for (const [name, { offset, strided, length, dtype }] of tensors) {
    const dense = new Uint8Array(length)
    for (const window of windowsOf(offset, strided, 0, length))
      scatter(window, file.subarray(window.position, window.position + window.length), dense)
    if (dtype === 'F32') values.set(name, [...new Float32Array(dense.buffer)])
  }
  return { tensors, values }
}

describe('files of PyTorch', () => {
  it('give the tensors of a state dict, views of shared storages among them', async () => {
    const views = {
      whole: tensor({ elements: 6, shape: [2, 3], strides: [3, 1] }),
      transposed: tensor({ elements: 6, shape: [3, 2], strides: [1, 3] }),
      slice: tensor({ elements: 6, offset: 1, shape: [2, 2], strides: [3, 1] }),
      expanded: tensor({ elements: 6, offset: 5, shape: [2, 2], strides: [0, 0] }),
      scalar: tensor({ elements: 6, offset: 4, shape: [], strides: [] }),
      empty: tensor({ elements: 6, offset: 6, shape: [0, 3], strides: [3, 1] }),
    }
    const { tensors, values } = await opened(archive(pickle(dict(views)), { '0': floats(6) }))
    expect(Object.fromEntries(values)).toEqual({
      whole: [0, 1, 2, 3, 4, 5],
      transposed: [0, 3, 1, 4, 2, 5],
      slice: [1, 2, 4, 5],
      expanded: [5, 5, 5, 5],
      scalar: [4],
      empty: [],
    })
    expect(tensors.get('transposed')).toMatchObject({ dtype: 'F32', shape: [3, 2], length: 24 })
  })

  it('stacked as before 1.6 give the same', async () => {
    const root = pickle(dict({ a: tensor({ ...square, key: 'x' }, true), b: tensor({ ...square, key: 'y', strides: [1, 2] }, true) }))
    const storages = { y: { elements: 4, bytes: floats(4) }, x: { elements: 4, bytes: floats(4).reverse() } }
    const { values } = await opened(stacked(root, storages))
    expect(values.get('b')).toEqual([0, 2, 1, 3])
    expect(values.get('a')).toHaveLength(4)
  })

  it('of each element type keep it', async () => {
    const types = { HalfStorage: 'F16', BFloat16Storage: 'BF16', DoubleStorage: 'F64', LongStorage: 'I64', IntStorage: 'I32' }
    const more = { ShortStorage: 'I16', CharStorage: 'I8', ByteStorage: 'U8', BoolStorage: 'BOOL', 'cuda.FloatStorage': 'F32' }
    for (const [type, dtype] of Object.entries({ ...types, ...more })) {
      const { tensors } = await opened(archive(pickle(dict({ w: tensor({ ...square, elements: 4, type }) })), { '0': new Uint8Array(32) }))
      expect(tensors.get('w')!.dtype).toBe(dtype)
    }
  })

  it.each(['state_dict', 'model_state_dict', 'model', 'module'])('have the state dict under %s, beside what is not of it', async (key) => {
    const scalar = Buffer.concat([op.global('numpy.core.multiarray.scalar'), op.emptyTuple, op.reduce])
    const optimizer = dict({ state: dict({ '0': tensor(square) }) })
    const root = pickle(dict({ epoch: op.int(3), optimizer, best: scalar, [key]: dict({ w: tensor(square), version: op.int(2) }) }))
    expect([...(await opened(archive(root, { '0': floats(4) }))).tensors.keys()]).toEqual(['w'])
  })

  it('lose what DataParallel and torch.compile put before all names, and only then', async () => {
    const names = async (...keys: string[]) => {
      const root = pickle(dict(Object.fromEntries(keys.map((key) => [key, tensor(square)]))))
      return [...(await opened(archive(root, { '0': floats(4) }))).tensors.keys()]
    }
    expect(await names('module.a.weight', 'module.b.weight')).toEqual(['a.weight', 'b.weight'])
    expect(await names('module._orig_mod.a')).toEqual(['a'])
    expect(await names('module.a', 'head.b')).toEqual(['module.a', 'head.b'])
  })

  it('without a state dict where it is looked for are refused with what to do', async () => {
    const refused = (root: Buffer, code: string, message: RegExp) =>
      expect(opened(archive(root, { '0': floats(4) }))).rejects.toMatchObject({ code, message: expect.stringMatching(message) })
    await refused(
      pickle(dict({ net: dict({ w: tensor(square) }) })),
      'BAD_INPUT',
      /holds tensors, but under "net".*torch\.save\(model\.state_dict/,
    )
    await refused(pickle(dict({ epoch: op.int(1) })), 'BAD_INPUT', /holds no tensors/)
    await refused(pickle(tensor(square)), 'BAD_INPUT', /holds a tensor instead of a state dict/)
    await refused(pickle(dict({ w: tensor(square), extra: dict({ v: tensor(square) }) })), 'BAD_INPUT', /"extra", which holds tensors/)
    await refused(
      pickle(dict({ w: tensor({ ...square, type: 'QInt8Storage' }) })),
      'UNSUPPORTED',
      /tensor w of .* it is quantised; dequantise/,
    )
    await refused(pickle(dict({ w: tensor({ ...square, type: 'ComplexFloatStorage' }) })), 'UNSUPPORTED', /complex numbers/)
  })

  it('are told by what is in them: safetensors by any name, whatever byte their length begins with', async () => {
    const { values } = await opened(checkpointBytes(['a.b', 'c.d']))
    expect([...values.keys()]).toEqual(['a.b', 'c.d'])
    const header = '{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.padEnd(128)
    expect((await opened(safetensors(header, 4))).tensors.size).toBe(1)
  })

  it('are a checkpoint folder, whole or in shards; safetensors beside them win', async () => {
    await using folder = await temporary()
    const shard = (name: string) => archive(pickle(dict({ [name]: tensor(square) })), { '0': floats(4) })
    await folder.write('pytorch_model-00001-of-00002.bin', shard('module.a'))
    await folder.write('pytorch_model-00002-of-00002.bin', shard('b'))
    const map = { 'module.a': 'pytorch_model-00001-of-00002.bin', b: 'pytorch_model-00002-of-00002.bin' }
    await folder.write('pytorch_model.bin.index.json', JSON.stringify({ weight_map: map }))
    expect([...(await openHuggingFace(folder.path)).tensors.keys()]).toEqual(['module.a', 'b'])
    await folder.write('pytorch_model.bin', shard('module.whole'))
    expect([...(await openHuggingFace(folder.path)).tensors.keys()]).toEqual(['whole'])
    await folder.write('model.safetensors', checkpointBytes(['c.d']))
    expect([...(await openHuggingFace(folder.path)).tensors.keys()]).toEqual(['c.d'])
  })

  it('TorchScript gives parameters and buffers by their names, and no list of them', async () => {
    const module = (name: string, attributes: Record<string, Buffer>) =>
      Buffer.concat([op.global(`__torch__.${name}`), op.emptyTuple, op.create, dict(attributes), op.build])
    const tag = Buffer.concat([
      op.global('torch.jit._pickle.restore_type_tag'),
      op.mark,
      op.emptyList,
      op.text('List[str]'),
      op.tuple,
      op.reduce,
    ])
    const linear = module('torch.nn.modules.linear.Linear', { weight: tensor(square), bias: op.none, training: op.true })
    const root = pickle(module('Net', { scale: tensor({ ...square, shape: [], strides: [] }), names: tag, fc: linear }))
    const { values } = await opened(archive(root, { '0': floats(4) }, [{ name: 'archive/constants.pkl', data: pickle(op.emptyTuple) }]))
    expect(Object.fromEntries(values)).toEqual({ scale: [0], 'fc.weight': [0, 1, 2, 3] })
  })

  it('views are converted as dense tensors are: the same CID in every dtype', async () => {
    await using folder = await temporary()
    const values = Float32Array.from({ length: 64 * 96 }, (_, i) => Math.sin(i * 12.9898))
    const turned = new Float32Array(values.length)
    for (let i = 0; i < 64; i++) for (let j = 0; j < 96; j++) turned[j * 64 + i] = values[i * 96 + j]!
    const make = (data: Float32Array, strides: number[]) =>
      archive(pickle(dict({ 'a.weight': tensor({ elements: data.length, shape: [64, 96], strides }) })), {
        '0': new Uint8Array(data.buffer),
      })
    const a = await folder.write('a.pt', make(values, [96, 1]))
    const b = await folder.write('b.pt', make(turned, [1, 64]))
    for (const dtype of ['keep', 'bf16', 'f16'] as const) {
      const [one, other] = [
        await fragment(a, { out: `${folder.path}/a-${dtype}`, dtype }),
        await fragment(b, { out: `${folder.path}/b-${dtype}`, dtype }),
      ]
      expect(other.cid).toBe(one.cid)
    }
  })

  it('a file alone gives an asset of its weights; what lies beside it stays there', async () => {
    await using folder = await temporary()
    await folder.write('config.json', '{}')
    const file = await folder.write('w.pt', archive(pickle(dict({ 'a.weight': tensor(square) })), { '0': floats(4) }))
    const { note, files } = await fragment(file, { out: `${folder.path}/out` })
    expect(files).toBe(3)
    expect(note).toMatch(/it has no config\.json/)
  })
})

describe.runIf(sharedModel('tiny-llama'))('pytorch_model.bin', () => {
  it.each(['tiny-llama', 'tiny-gpt2', 'tiny-bert', 'stories260k'])(
    '%s has the CID of its safetensors',
    { timeout: 300_000 },
    async (name) => {
      await using folder = await temporary()
      const source = sharedModel(name)!
      for (const [path, { path: from }] of (await openHuggingFace(source)).copies) await folder.write(`bin/${path}`, await readFile(from))
      await folder.write('bin/pytorch_model.bin', await readFile(`${source}/pytorch_model.bin`))
      for (const dtype of ['keep', 'q8'] as const) {
        const expected = await fragment(source, { out: `${folder.path}/a-${dtype}`, dtype })
        expect(await fragment(`${folder.path}/bin`, { out: `${folder.path}/b-${dtype}`, dtype })).toEqual(expected)
      }
    },
  )
})
