import { describe, expect, it } from 'vitest'
import { lowerGraph } from '../../src/engines/native/lower.js'
import { indexGraph } from '../../src/graph/cut.js'
import { TensorProto_DataType as DataType } from '../../src/graph/generated/onnx_pb.js'
import { parseGraph, serializeGraph } from '../../src/graph/parse.js'
import { external, floats, integers, modelOf, node, type Parts, value } from '../graph/onnx.js'
import { expectWhole } from './programs.js'

const { FLOAT, INT64, FLOAT16, BFLOAT16, DOUBLE, INT32, BOOL } = DataType

describe('what the native engine does not do exactly is refused with a reason', () => {
  const [x, n, b] = [value('x', FLOAT, ['n', 4]), value('n', INT64, ['n']), value('b', BOOL, ['n'])]
  const w = external('w', FLOAT, [4, 4])
  const make = (op: string, input: string[], attributes: Parameters<typeof node>[3] = {}, rest: Parts = {}): Parts => ({
    input: [x, n, b],
    initializer: [
      w,
      external('v', FLOAT, [4]),
      integers('axes', [0]),
      integers('none', [], [0]),
      integers('zero', [0], []),
      integers('three', [3]),
      integers('both', [1, 3]),
      floats('half', [0.5]),
      floats('one', [1], []),
    ],
    node: [node(op, input, ['y'], attributes)],
    output: [value('y', FLOAT)],
    ...rest,
  })
  const typed = (type: DataType) => ({ output: [value('y', type)] })
  const past = [value('k', FLOAT, ['b', 2, 'p', 2]), value('v', FLOAT, ['b', 2, 'p', 2])]
  const cached = (change: { past?: string[]; outputs?: string[]; rest?: Parts } = {}): Parts => {
    const inputs = ['x', 'x', 'x', 'b', ...(change.past ?? ['k', 'v'])]
    const attention = node('Attention', inputs, change.outputs ?? ['y', 'k2', 'v2'], { q_num_heads: 2, kv_num_heads: 2, scale: 0.5 })
    return { input: [x, b, ...past], node: [attention], output: ['y', 'k2', 'v2'].map((name) => value(name, FLOAT)), ...change.rest }
  }
  const wide = [value('k', FLOAT, ['b', 3, 'p', 2]), value('v', FLOAT, ['b', 2, 'p', 2])]
  const CACHE = /the cache of an Attention is not an input and an output of the graph, for it alone/
  const heads = { q_num_heads: 2, kv_num_heads: 2, scale: 0.5 }
  const factor = (other: string) =>
    make('', [], {}, { node: [node('Add', ['v', other], ['f']), node('RMSNormalization', ['x', 'f'], ['y'])] })
  const cases: [string, Parts, RegExp][] = [
    ['an operator', make('LogSoftmax', ['x']), /LogSoftmax \(node ""\) is not known to it/],
    ['an attribute', make('Attention', ['x', 'x', 'x'], { ...heads, odd: 0.5 }), /Attention \(node ""\) has the attribute "odd"/],
    ['a cap below 0', make('Attention', ['x', 'x', 'x'], { ...heads, softcap: -0.5 }), /an Attention has the softcap -0.5/],
    ['causality by attribute', make('Attention', ['x', 'x', 'x'], { ...heads, is_causal: 1 }), /has the attribute "is_causal"/],
    ['a mask of whole numbers', make('Attention', ['x', 'x', 'x', 'n'], heads), /input 3 of Attention is of i64/],
    ['attention without a scale', make('Attention', ['x', 'x', 'x'], { q_num_heads: 2, kv_num_heads: 2 }), /no heads or no scale/],
    ['too many inputs', make('Relu', ['x', 'x']), /Relu \(node ""\) has 2 inputs/],
    ['too few inputs', make('Add', ['x']), /Add \(node ""\) has 1 inputs/],
    ['too few inputs of any node', make('Gather', ['w']), /Gather \(node ""\) has 1 inputs/],
    ['an input that is left out', make('Add', ['', 'x']), /"" is not made by a node before it/],
    [
      'more outputs',
      make('LayerNormalization', ['x', 'half', 'half'], {}, { node: [node('LayerNormalization', ['x', 'half', 'half'], ['y', 'mean'])] }),
      /has 2 outputs/,
    ],
    ['a layer norm without bias', make('LayerNormalization', ['x', 'half']), /LayerNormalization \(node ""\) has 2 inputs/],
    ['a norm by a value', make('RMSNormalization', ['x', 'x']), /RMSNormalization is not by a weight/],
    ['a norm by a sum of weights', factor('v'), /RMSNormalization is not by a weight/],
    ['a norm by a weight and a list of numbers', factor('half'), /RMSNormalization is not by a weight/],
    ['a norm over more axes', make('RMSNormalization', ['x', 'v'], { axis: 0 }), /RMSNormalization is not over the last axis/],
    ['an epsilon that is no number', make('RMSNormalization', ['x', 'v'], { epsilon: Number.NaN }), /RMSNormalization has the epsilon NaN/],
    ['integers where floats are', make('Relu', ['n']), /input 0 of Relu is of i64/],
    ['division of integers', make('Div', ['n', 'n'], {}, typed(INT64)), /input 0 of Div is of i64/],
    ['a sum of two types', make('Add', ['x', 'n']), /input 1 of Add is of i64/],
    ['a choice of two types', make('Where', ['b', 'x', 'n']), /input 2 of Where is of i64/],
    ['a product of activations', make('MatMul', ['x', 'x']), /a MatMul is of two activations/],
    ['a matrix as a value', make('Add', ['x', 'w']), /it can use the matrix w only in MatMul and Gather/],
    ['a Gather by values', make('Gather', ['x', 'n']), /ids that are no constant/],
    ['a Gather of rows by fractions', make('Gather', ['w', 'x']), /input 1 of Gather is of f32/],
    ['a Gather of columns', make('Gather', ['w', 'n'], { axis: 1 }), /ids that are no constant/],
    ['a Transpose of values', make('Transpose', ['x'], { perm: [1, 0] }), /a Transpose is of an activation/],
    ['half precision', make('Cast', ['x'], { to: FLOAT16 }, typed(FLOAT16)), /element type 10 is not known to it/],
    ['a weight cast to another type', make('Cast', ['w'], { to: INT64 }, typed(INT64)), /a weight is cast to i64/],
    ['an approximation', make('Gelu', ['x'], { approximate: 'fast' }), /a Gelu is approximated by "fast"/],
    ['a fold of all axes', make('ReduceSum', ['x', 'none']), /ReduceSum folds all axes/],
    ['axes that only a run shows', make('ReduceSum', ['x', 'n']), /n is known only when it runs/],
    ['axes that are fractions', make('ReduceSum', ['x', 'half']), /half is known only when it runs/],
    ['a Reshape that keeps zeros', make('Reshape', ['x', 'axes'], { allowzero: 1 }), /a Reshape allows dimensions of 0/],
    [
      'a Slice of columns',
      make('Slice', ['x', 'axes', 'axes', 'one'], {}, { initializer: [integers('axes', [0]), integers('one', [1])] }),
      /not of the first axis/,
    ],
    ['a Split of rows', make('Split', ['x'], { axis: 0 }), /a Split is not of the last axis/],
    ['a Split by sizes that only a run shows', make('Split', ['x', 'n'], { axis: -1 }), /n is known only when it runs/],
    ['a Split into nothing', make('Split', ['x', 'axes'], { axis: -1 }), /a Split has the sizes 0/],
    ['a Split of another width', make('Split', ['x', 'three'], { axis: -1 }), /sizes that are not declared to be those of its input/],
    ['a Split into too few', make('Split', ['x', 'both'], { axis: -1 }), /a Split has not as many sizes as outputs/],
    ['rotation by pairs', make('RotaryEmbedding', ['x', 'x', 'x'], { num_heads: 2, interleaved: 1 }), /is interleaved or not by heads/],
    [
      'rotation of a part by tables of another width',
      make('RotaryEmbedding', ['x', 'x', 'x'], { num_heads: 2, rotary_embedding_dim: 2 }),
      /turns 2 elements of a head by tables that are not declared as half of that/,
    ],
    ['rotation by ids', make('RotaryEmbedding', ['x', 'x', 'x', 'n'], { num_heads: 2 }), /RotaryEmbedding \(node ""\) has 4 inputs/],
    [
      'a constant without an end',
      make('Add', ['x', 'c'], {}, { initializer: [floats('c', [Number.NEGATIVE_INFINITY])] }),
      /the constant c holds -Infinity/,
    ],
    [
      'a constant beyond 2^53',
      make('Add', ['n', 'c'], {}, { ...typed(INT64), initializer: [integers('c', [2n ** 60n])] }),
      /the constant c holds 115292150460684\d+/,
    ],
    [
      'a large constant',
      make('Add', ['x', 'c'], {}, { initializer: [floats('c', new Array(70_000).fill(1))] }),
      /the constant c has 70000 elements/,
    ],
    [
      'a constant of 32-bit integers',
      make('Add', ['x', 'c'], {}, { initializer: [integers('c', [1], [1], INT32)] }),
      /element type 6 is not/,
    ],
    ['doubles', make('Add', ['x', 'd'], {}, { initializer: [external('d', DOUBLE, [4])] }), /weight d is of ONNX element type 11/],
    [
      'a weight of three dimensions',
      make('Add', ['x', 'd'], {}, { initializer: [external('d', FLOAT, [1, 2, 2])] }),
      /weight d has the shape \[1,2,2\]/,
    ],
    [
      'a weight of nothing',
      make('MatMul', ['x', 'd'], {}, { initializer: [external('d', FLOAT, [4, 0])] }),
      /weight d has the shape \[4,0\]/,
    ],
    ['an input in half precision', make('Relu', ['h'], {}, { input: [value('h', FLOAT16)] }), /element type 10 is not known/],
    ['an output declared as another type', make('Relu', ['x'], {}, typed(INT64)), /its output y is declared as another type than f32/],
    [
      'rows declared as stored',
      make('Gather', ['h', 'n'], {}, { ...typed(BFLOAT16), initializer: [external('h', BFLOAT16, [4, 4])] }),
      /element type 16/,
    ],
    ['a cache that is not given', cached({ past: ['k'] }), CACHE],
    ['a cache that is one of two', cached({ past: ['k', 'k'] }), CACHE],
    ['a cache of other heads', cached({ rest: { input: [x, b, ...wide] } }), CACHE],
    ['a cache that is not given back', cached({ outputs: ['y'], rest: { output: [value('y', FLOAT)] } }), CACHE],
    [
      'a cache that is read as a value',
      cached({ rest: { node: [...cached().node!, node('Relu', ['k'], ['z'])], output: [...cached().output!, value('z', FLOAT)] } }),
      CACHE,
    ],
  ]
  it.each(cases)('%s', (_, parts, text) => {
    const refusal = expect.objectContaining({ name: 'AssetError', code: 'UNSUPPORTED', message: expect.stringMatching(text) })
    const index = indexGraph(parseGraph(serializeGraph(modelOf(parts))))
    expect(() => lowerGraph(index)).toThrow(refusal)
  })

  it('and what is near to it is not', () => {
    const fine = [
      make('Relu', ['x']),
      make('Gather', ['w', 'n'], { axis: 0 }),
      make('ReduceSum', ['x', 'axes']),
      cached(),
      make('Gather', ['x', 'zero']),
      factor('one'),
      make('', [], {}, { node: [node('Split', ['x', 'both'], ['y', 'z'], { axis: -1 })] }),
      make('RotaryEmbedding', ['x', 'x', 'x'], { num_heads: 1, rotary_embedding_dim: 8 }),
    ]
    for (const parts of fine) expectWhole(indexGraph(modelOf(parts)), lowerGraph(indexGraph(modelOf(parts))))
  })
})
