import { create } from '@bufbuild/protobuf'
import { describe, expect, it } from 'vitest'
import { fragment, inspect, loadModel } from '../../src/api/index.js'
import {
  TensorProto_DataType as DataType,
  type NodeProto,
  StringStringEntryProtoSchema,
  type TensorProto,
} from '../../src/graph/generated/onnx_pb.js'
import { serializeGraph } from '../../src/graph/parse.js'
import { moduleOf } from '../../src/sources/onnx/scopes.js'
import { openCheckpoint } from '../../src/sources/open.js'
import { windowsOf } from '../../src/sources/strided.js'
import { floats, integers, modelOf, node, type Parts, value } from '../graph/onnx.js'
import { temporary } from './files.js'

const { FLOAT, INT64 } = DataType
const numbers = (count: number, from = 0) => Array.from({ length: count }, (_, i) => i + from)
const x = value('x', FLOAT)

/** A chain of nodes over `x`, each with one initializer, by the name of its node. */
function chain(...links: [TensorProto, string, string?][]): Parts {
  const nodes = links.map(([{ name }, path, op = 'MatMul'], at) =>
    node(op, [at === 0 ? 'x' : `v${at - 1}`, name], [at === links.length - 1 ? 'y' : `v${at}`], {}, path),
  )
  return { input: [x], initializer: links.map(([tensor]) => tensor), node: nodes, output: [value('y', FLOAT)] }
}

async function keysOf(parts: Parts): Promise<Record<string, readonly number[]>> {
  await using folder = await temporary()
  const { tensors } = await openCheckpoint(await folder.write('m.onnx', serializeGraph(modelOf(parts))))
  return Object.fromEntries([...tensors].map(([key, { shape }]) => [key, shape]))
}

describe('the module of a node', () => {
  const named = (name: string) => moduleOf(node('MatMul', [], [], {}, name))
  const scoped = (scopes: string) => {
    const metadataProps = [create(StringStringEntryProtoSchema, { key: 'pkg.torch.onnx.name_scopes', value: scopes })]
    return moduleOf(Object.assign(node('MatMul', [], [], {}, 'node_1'), { metadataProps }) as NodeProto)
  }

  it('is in the name that the TorchScript exporter gives it', () => {
    expect(named('/bert/encoder/layer.0/attention/self/query/MatMul')).toBe('bert.encoder.layer.0.attention.self.query')
    expect(named('/stem/stem.0/Conv')).toBe('stem.0')
    expect(named('/body.1/body.1.0/Conv_2')).toBe('body.1.0')
    expect(named('/MatMul')).toBe('')
    expect(named('MatMul_3')).toBeUndefined()
  })

  it('is in the metadata of the dynamo exporter', () => {
    expect(scoped("['', 'bert', 'bert.layer.0', 'linear_1']")).toBe('bert.layer.0')
    expect(scoped("['', 'add']")).toBe('')
    expect(scoped('[]')).toBeUndefined()
  })
})

describe('the initializers of an ONNX model', () => {
  it('have their own names, or those of the modules that use them, turned back', async () => {
    const parts = chain(
      [floats('own.weight', numbers(6), [2, 3]), '/other/MatMul'],
      [floats('onnx::MatMul_7', numbers(12), [3, 4]), '/layers.0/fc/MatMul'],
      [floats('val_3', numbers(20), [4, 5]), ''],
      [floats('dense/kernel:0', numbers(10), [5, 2]), ''],
      [floats('cls_token', numbers(2), [1, 1, 2]), '', 'Add'],
    )
    expect(await keysOf(parts)).toEqual({
      'own.weight': [2, 3],
      'layers.0.fc.weight': [4, 3],
      'dense.kernel:0': [5, 2],
      cls_token: [1, 1, 2],
    })
  })

  it('are read as they lie: those that were turned column by column', async () => {
    await using folder = await temporary()
    const bytes = serializeGraph(modelOf(chain([floats('onnx::MatMul_1', numbers(6), [2, 3]), '/fc/MatMul'])))
    const { tensors } = await openCheckpoint(await folder.write('m.onnx', bytes))
    const { offset, strided, length } = tensors.get('fc.weight')!
    const [{ position, dimensions }] = [...windowsOf(offset, strided, 0, length)] as [
      ReturnType<typeof windowsOf> extends Generator<infer W> ? W : never,
    ]
    expect(new Float32Array(Uint8Array.from(bytes.subarray(position, position + 24)).buffer)).toEqual(Float32Array.from(numbers(6)))
    expect(dimensions.map(({ count, step }) => [count, step])).toEqual(
      [
        [3, 4],
        [2, 12],
      ].sort((a, b) => a[1]! - b[1]!),
    )
  })

  it('are one where one module is used twice, and two where their bytes differ', async () => {
    const same = numbers(4)
    const parts = chain(
      [floats('onnx::MatMul_1', same, [2, 2]), '/fc/MatMul'],
      [floats('onnx::MatMul_2', same, [2, 2]), '/fc/MatMul_1'],
      [floats('onnx::MatMul_3', numbers(4096, 1), [2, 2048]), '/fc/MatMul_2'],
    )
    expect(await keysOf(parts)).toEqual({ 'fc.weight': [2, 2], '@graph.onnx::MatMul_3': [2, 2048] })
  })

  it('stay in the graph where they are small and no module has them', async () => {
    const shape = integers('shape', [2, 2])
    const parts: Parts = {
      input: [x],
      initializer: [floats('fc.weight', numbers(4), [2, 2]), shape, floats('/scale', [2], [])],
      node: [node('MatMul', ['x', 'fc.weight'], ['a']), node('Reshape', ['a', 'shape'], ['b']), node('Mul', ['b', '/scale'], ['y'])],
      output: [value('y', FLOAT)],
    }
    expect(await keysOf(parts)).toEqual({ 'fc.weight': [2, 2] })
    const large = integers('table', numbers(1000), [1000])
    const gather: Parts = {
      input: [value('x', INT64)],
      initializer: [large],
      node: [node('Gather', ['table', 'x'], ['y'])],
      output: [value('y', INT64)],
    }
    expect(await keysOf(gather)).toEqual({ table: [1000] })
  })
})

describe('an ONNX model', () => {
  const fc = () => chain([floats('fc.weight', numbers(4), [2, 2]), ''])

  it('gives the same CID again, from a file or a folder, with what lies beside it', async () => {
    await using folder = await temporary()
    const path = await folder.write('m/model.onnx', serializeGraph(modelOf(fc())))
    const cids = [0, 1].map(async (at) => (await fragment(path, { out: `${folder.path}/out${at}` })).cid)
    expect(await cids[0]).toBe(await cids[1])
    expect((await fragment(`${folder.path}/m`, { out: `${folder.path}/folder` })).cid).toBe(await cids[0])
    await folder.write('m/config.json', '{}')
    await fragment(`${folder.path}/m`, { out: `${folder.path}/config` })
    expect((await inspect(`${folder.path}/config`)).files.map(({ path }) => path)).toContain('config.json')
  })

  it('of operators of other domains is kept, says that it can not be run here, and is not', async () => {
    await using folder = await temporary()
    const parts = fc()
    Object.assign(parts.node![0]!, { domain: 'com.microsoft', opType: 'FusedMatMul', name: 'fused' })
    const path = await folder.write('m.onnx', serializeGraph(modelOf(parts)))
    const { note } = await fragment(path, { out: `${folder.path}/out` })
    expect(note).toBe(
      `It can't be run here: node fused (FusedMatMul) is of the domain "com.microsoft"; only standard ONNX operators are run`,
    )
    await expect(loadModel(`${folder.path}/out`)).rejects.toMatchObject({ code: 'UNSUPPORTED' })
  })

  it('keeps the types of its weights', async () => {
    await using folder = await temporary()
    const path = await folder.write('m.onnx', serializeGraph(modelOf(fc())))
    const wrong = { code: 'UNSUPPORTED', message: expect.stringContaining('use the dtype keep') }
    await expect(fragment(path, { out: `${folder.path}/out`, dtype: 'bf16' })).rejects.toMatchObject(wrong)
  })

  it('that was in training gives what it gives in use', async () => {
    await using folder = await temporary()
    const parts = fc()
    parts.initializer!.push(floats('ratio', [0.5], []), Object.assign(integers('on', [], [], DataType.BOOL), { rawData: Uint8Array.of(1) }))
    parts.node = [
      node('MatMul', ['x', 'fc.weight'], ['h']),
      node('Dropout', ['h', 'ratio', 'on'], ['d', 'mask']),
      node('Neg', ['d'], ['y']),
    ]
    await fragment(await folder.write('m.onnx', serializeGraph(modelOf(parts))), { out: `${folder.path}/out` })
    await using model = await loadModel(`${folder.path}/out`)
    const { y } = await model.run({ x: { type: 'float32', data: Float32Array.of(1, 1), dims: [1, 2] } })
    expect([...(y!.data as Float32Array)]).toEqual([-2, -4])
  })
})
