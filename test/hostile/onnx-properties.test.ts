import { realpath } from 'node:fs/promises'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TensorProto_DataType as DataType } from '../../src/graph/generated/onnx_pb.js'
import { serializeGraph } from '../../src/graph/parse.js'
import { external, floats, holding, integers, modelOf, node, value } from '../graph/onnx.js'
import { randomOf } from '../random.js'
import { temporary } from '../sources/files.js'
import { modelOpenedOrRefused, mutatedModel, writeBeside } from './onnx-mutations.js'

const { FLOAT, BOOL } = DataType
const numbers = (count: number) => Array.from({ length: count }, (_, i) => i)

// Everything that the reader treats in a way of its own, as small as can be.
const model = serializeGraph(
  modelOf({
    input: [value('x', FLOAT, [2, 8]), value('c', BOOL, [])],
    initializer: [
      floats('onnx::MatMul_1', numbers(64), [8, 8]),
      external('fc.weight', FLOAT, [8, 8], 'w.data'),
      integers('shape', [2, 1, 8]),
      floats('onnx::LSTM_2', numbers(64), [1, 8, 8]),
      floats('onnx::LSTM_3', numbers(16), [1, 8, 2]),
      floats('onnx::LSTM_4', numbers(16), [1, 16]),
    ],
    node: [
      node('MatMul', ['x', 'onnx::MatMul_1'], ['a'], {}, '/deep/deep.0/MatMul'),
      holding(node('If', ['c'], ['b']), {
        then_branch: {
          initializer: [floats('in.weight', numbers(64), [8, 8])],
          node: [node('MatMul', ['a', 'in.weight'], ['t'])],
          output: [value('t', FLOAT)],
        },
        else_branch: { node: [node('MatMul', ['a', 'fc.weight'], ['e'])], output: [value('e', FLOAT)] },
      }),
      node('Reshape', ['b', 'shape'], ['r']),
      node('LSTM', ['r', 'onnx::LSTM_2', 'onnx::LSTM_3', 'onnx::LSTM_4'], ['y'], { hidden_size: 2 }, '/rnn/LSTM'),
    ],
    output: [value('y', FLOAT)],
  }),
)

describe('changed ONNX models', () => {
  it('32-36: are refused with a typed error, or all of their tensors are within their files', async () => {
    await using folder = await temporary()
    const path = `${await realpath(folder.path)}/model.onnx`
    const sizes = await writeBeside(path, { 'w.data': new Uint8Array(256) })
    expect(await modelOpenedOrRefused(model, path, sizes)).toBe('read')
    const seen = new Set<string>()
    await fc.assert(
      fc.asyncProperty(fc.nat(), async (seed) => {
        seen.add(await modelOpenedOrRefused(mutatedModel(model, randomOf(seed)), path, sizes))
      }),
      // Kept: a node without a name in a graph that was changed.
      { numRuns: 1500, examples: [[729137354]] },
    )
    expect([...seen]).toEqual(expect.arrayContaining(['BAD_INPUT', 'read']))
  })
})
