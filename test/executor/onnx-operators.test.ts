import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fragment, inspect, loadModel, plan } from '../../src/api/index.js'
import { TensorProto_DataType as DataType, type TensorProto } from '../../src/graph/generated/onnx_pb.js'
import { serializeGraph } from '../../src/graph/parse.js'
import { floats, holding, integers, modelOf, node, type Parts, value } from '../graph/onnx.js'
import { temporary } from '../sources/files.js'
import { worstDifference } from './assets.js'
import { choiceOf, ENGINES } from './engines.js'

const { FLOAT, INT64, BOOL, INT8, UINT8 } = DataType
const WIDTH = 32

/** Numbers between -1 and 1 that look random. */
const numbers = (count: number, seed: number) => Array.from({ length: count }, (_, i) => Math.sin((i + 1) * 12.9898 + seed * 78.233))
const weight = (name: string, dims: number[], seed: number) =>
  floats(
    name,
    numbers(
      dims.reduce((a, b) => a * b, 1),
      seed,
    ).map((n) => n / 4),
    dims,
  )
const bytes = (name: string, dataType: DataType, values: number[], dims: number[]): TensorProto =>
  Object.assign(integers(name, [], dims, dataType), { rawData: Uint8Array.from(values, (v) => v & 255) })
const square = (name: string, seed: number) => weight(name, [WIDTH, WIDTH], seed)
const times = (input: string, name: string, output: string, path = '') => node('MatMul', [input, name], [output], {}, path)

const x = value('x', FLOAT, [4, WIDTH])
const flag = value('c', BOOL, [])
const y = value('y', FLOAT)
const branch = (name: string, inside: TensorProto[]): Parts => ({
  initializer: inside,
  node: [times('x', name, 'b')],
  output: [value('b', FLOAT)],
})

interface Case {
  readonly parts: Parts
  readonly opset?: number
  /** modules that own weights */
  readonly modules: string[]
}

const CASES: Record<string, Case> = {
  'an If with weights in its branches, both of one name': {
    modules: ['deep', 'gate', 'gate.other'],
    parts: {
      input: [x, flag],
      initializer: [square('deep.weight', 1)],
      node: [
        times('x', 'deep.weight', 'h'),
        holding(node('If', ['c'], ['z']), {
          then_branch: { ...branch('gate.weight', [square('gate.weight', 2)]) },
          else_branch: {
            initializer: [square('gate.other.weight', 3)],
            node: [times('h', 'gate.other.weight', 'b')],
            output: [value('b', FLOAT)],
          },
        }),
        node('Add', ['z', 'h'], ['y']),
      ],
      output: [y],
    },
  },
  'an If in an If': {
    modules: ['inner', 'outer'],
    parts: {
      input: [x, flag],
      node: [
        holding(node('If', ['c'], ['y']), {
          then_branch: {
            node: [
              holding(node('If', ['c'], ['b']), {
                then_branch: { ...branch('inner.weight', [square('inner.weight', 5)]), output: [value('b', FLOAT)] },
                else_branch: { node: [node('Identity', ['x'], ['b2'])], output: [value('b2', FLOAT)] },
              }),
            ],
            output: [value('b', FLOAT)],
          },
          else_branch: { initializer: [square('outer.weight', 6)], node: [times('x', 'outer.weight', 'e')], output: [value('e', FLOAT)] },
        }),
      ],
      output: [y],
    },
  },
  'a Loop with a weight of its own and one from around it': {
    modules: ['cell', 'head'],
    parts: {
      input: [x],
      initializer: [integers('rounds', [3], []), square('head.weight', 7)],
      node: [
        holding(node('Loop', ['rounds', '', 'x'], ['last', 'all']), {
          body: {
            input: [value('i', INT64, []), value('go', BOOL, []), value('at', FLOAT, [4, WIDTH])],
            initializer: [square('cell.weight', 8)],
            node: [
              times('at', 'cell.weight', 'm'),
              times('m', 'head.weight', 'n'),
              node('Tanh', ['n'], ['next']),
              node('Identity', ['go'], ['on']),
              node('Identity', ['next'], ['each']),
            ],
            output: [value('on', BOOL, []), value('next', FLOAT, [4, WIDTH]), value('each', FLOAT, [4, WIDTH])],
          },
        }),
        node('ReduceSum', ['all'], ['sum'], { keepdims: 0 }),
        node('Add', ['last', 'sum'], ['y']),
      ],
      output: [y],
    },
  },
  'a Scan with a weight inside': {
    modules: ['step'],
    parts: {
      input: [x],
      initializer: [floats('start', Array(WIDTH).fill(0))],
      node: [
        holding(node('Scan', ['start', 'x'], ['end', 'y'], { num_scan_inputs: 1 }), {
          body: {
            input: [value('state', FLOAT, [WIDTH]), value('row', FLOAT, [WIDTH])],
            initializer: [square('step.weight', 9)],
            node: [
              node('Add', ['state', 'row'], ['sum']),
              times('sum', 'step.weight', 'm'),
              node('Tanh', ['m'], ['next']),
              node('Identity', ['next'], ['out']),
            ],
            output: [value('next', FLOAT, [WIDTH]), value('out', FLOAT, [WIDTH])],
          },
        }),
      ],
      output: [y],
    },
  },
  'a convolution, a bidirectional LSTM, a GRU and an RNN, as the exporter names them': {
    modules: ['conv', 'gru', 'lstm', 'rnn'],
    opset: 17,
    parts: {
      input: [x],
      initializer: [
        integers('image', [1, 1, 4, WIDTH]),
        weight('onnx::Conv_1', [2, 1, 3, 3], 1),
        weight('onnx::Conv_2', [2], 2),
        integers('rows', [2, 4, WIDTH]),
        weight('onnx::LSTM_3', [2, 4 * 8, WIDTH], 3),
        weight('onnx::LSTM_4', [2, 4 * 8, 8], 4),
        weight('onnx::LSTM_5', [2, 8 * 8], 5),
        integers('sequence', [2, 4, 16]),
        weight('onnx::GRU_6', [1, 3 * 8, 16], 6),
        weight('onnx::GRU_7', [1, 3 * 8, 8], 7),
        weight('onnx::GRU_8', [1, 6 * 8], 8),
        weight('onnx::RNN_9', [1, 8, 8], 9),
        weight('onnx::RNN_10', [1, 8, 8], 10),
        integers('one', [1]),
      ],
      node: [
        node('Reshape', ['x', 'image'], ['i']),
        node('Conv', ['i', 'onnx::Conv_1', 'onnx::Conv_2'], ['h'], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }, '/conv/Conv'),
        node('Reshape', ['h', 'rows'], ['s']),
        node(
          'LSTM',
          ['s', 'onnx::LSTM_3', 'onnx::LSTM_4', 'onnx::LSTM_5'],
          ['l'],
          { hidden_size: 8, direction: 'bidirectional' },
          '/lstm/LSTM',
        ),
        node('Transpose', ['l'], ['t'], { perm: [0, 2, 1, 3] }),
        node('Reshape', ['t', 'sequence'], ['r']),
        node('GRU', ['r', 'onnx::GRU_6', 'onnx::GRU_7', 'onnx::GRU_8'], ['g'], { hidden_size: 8, linear_before_reset: 1 }, '/gru/GRU'),
        node('Squeeze', ['g', 'one'], ['q']),
        node('RNN', ['q', 'onnx::RNN_9', 'onnx::RNN_10'], ['y'], { hidden_size: 8 }, '/rnn/RNN'),
      ],
      output: [y],
    },
  },
  'a quantised model, whose weights are turned into floats before all else': {
    modules: ['fc1', 'fc2'],
    opset: 19,
    parts: {
      input: [x],
      initializer: [
        bytes(
          'fc1.weight_quantized',
          INT8,
          numbers(WIDTH * WIDTH, 1).map((n) => Math.round(n * 127)),
          [WIDTH, WIDTH],
        ),
        floats(
          'fc1.weight_scale',
          numbers(WIDTH, 2).map((n) => 0.002 + 0.001 * n),
        ),
        bytes('fc1.weight_zero_point', INT8, Array(WIDTH).fill(0), [WIDTH]),
        bytes(
          'fc2.weight_quantized',
          INT8,
          numbers(WIDTH * WIDTH, 3).map((n) => Math.round(n * 127)),
          [WIDTH, WIDTH],
        ),
        floats('fc2.weight_scale', [0.003], []),
        bytes('fc2.weight_zero_point', INT8, [3], []),
        floats('x_scale', [0.01], []),
        bytes('x_zero_point', UINT8, [128], []),
      ],
      node: [
        node('DequantizeLinear', ['fc1.weight_quantized', 'fc1.weight_scale', 'fc1.weight_zero_point'], ['w1'], { axis: 1 }),
        node('DequantizeLinear', ['fc2.weight_quantized', 'fc2.weight_scale', 'fc2.weight_zero_point'], ['w2']),
        node('QuantizeLinear', ['x', 'x_scale', 'x_zero_point'], ['xq']),
        node('DequantizeLinear', ['xq', 'x_scale', 'x_zero_point'], ['xd']),
        times('xd', 'w1', 'h'),
        node('Relu', ['h'], ['r']),
        times('r', 'w2', 'y'),
      ],
      output: [y],
    },
  },
}

const runtime = await import('onnxruntime-node').catch(() => undefined)

describe.runIf(runtime).each(Object.entries(CASES))('%s', (_, { parts, opset = 18, modules }) => {
  let folder: Awaited<ReturnType<typeof temporary>>
  let asset: string
  beforeAll(async () => {
    folder = await temporary()
    asset = `${folder.path}/asset`
    await fragment(await folder.write('model.onnx', serializeGraph(modelOf(parts, opset))), { out: asset })
  })
  afterAll(() => folder[Symbol.asyncDispose]())

  it('has its weights in fragments by module', async () => {
    expect((await inspect(asset)).modules.map(({ key }) => key)).toEqual(modules)
  })

  it.each(ENGINES.filter((engine) => engine !== 'native'))(
    'gives in %s what stock ONNX Runtime makes of the model, and of the asset',
    async (engine) => {
      const { InferenceSession, Tensor } = runtime!
      const choice = choiceOf(engine)
      const { weightBytes, minimum } = await plan(asset, { engine: choice })
      const ours = await Promise.all(
        [weightBytes, Math.max(minimum, Math.floor(weightBytes * 0.3))].map((memory) => loadModel(asset, { engine: choice, memory })),
      )
      for (const c of parts.input!.some(({ name }) => name === 'c') ? [1, 0] : [undefined]) {
        const feeds = {
          x: new Tensor('float32', Float32Array.from(numbers(4 * WIDTH, 11)), [4, WIDTH]),
          ...(c !== undefined && { c: new Tensor('bool', Uint8Array.of(c), []) }),
        }
        for (const path of [`${folder.path}/model.onnx`, `${asset}/model.onnx`]) {
          // What it makes of whole numbers beyond that is less exact.
          const stock = await InferenceSession.create(path, { graphOptimizationLevel: 'basic' })
          const { y: wanted } = await stock.run(feeds)
          await stock.release()
          expect(Math.max(...(wanted!.data as Float32Array).map(Math.abs))).toBeGreaterThan(0.01)
          for (const model of ours) {
            const { y: found } = await model.run(feeds)
            expect(found!.dims).toEqual(wanted!.dims)
            expect(worstDifference(found!.data as Float32Array, wanted!.data as Float32Array)).toBeLessThan(1e-5)
          }
        }
      }
      for (const model of ours) await model.close()
    },
  )
})
