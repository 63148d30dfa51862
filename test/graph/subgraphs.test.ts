import { describe, expect, it } from 'vitest'
import { AssetError } from '../../src/core/errors.js'
import { declareElementTypes } from '../../src/graph/element-types.js'
import { TensorProto_DataType as DataType, type GraphProto } from '../../src/graph/generated/onnx_pb.js'
import { readsOf } from '../../src/graph/subgraphs.js'
import { checkGraph } from '../../src/graph/validate.js'
import { floats, holding, integers, modelOf, node, type Parts, value } from './onnx.js'

const { FLOAT, INT64, BOOL, UINT8, INT32 } = DataType

const branch = (factor: string, rest: Parts = {}): Parts => ({
  node: [node('Mul', ['x', factor], ['b'])],
  output: [value('b', FLOAT)],
  ...rest,
})
const choice = (then: Parts, other: Parts) => holding(node('If', ['c'], ['y']), { then_branch: then, else_branch: other })
const graphOf = (parts: Parts): GraphProto =>
  modelOf({ input: [value('x', FLOAT), value('c', BOOL, [])], output: [value('y', FLOAT)], ...parts }).graph!
const w = floats('w', [1])

describe('graphs that nodes hold', () => {
  it('read what is around them', () => {
    const one = choice(branch('w'), branch('v', { initializer: [floats('v', [2])] }))
    expect(readsOf(one)).toEqual(['c', 'x', 'w'])
    const outer = holding(node('Loop', ['n', ''], ['z']), { body: { input: [value('x', FLOAT)], node: [one], output: [value('c', BOOL)] } })
    expect(readsOf(outer)).toEqual(['n', '', 'c', 'w'])
  })

  it('may use what was made before them, and give two branches one name', () => {
    checkGraph(graphOf({ initializer: [w], node: [choice(branch('w'), branch('w'))] }))
  })

  const wrong: [string, Parts, RegExp][] = [
    [
      'a name that is made later',
      { node: [choice(branch('z'), branch('x')), node('Relu', ['x'], ['z'])] },
      /\(Mul\) needs z, which no node/,
    ],
    ['a name of the other branch', { node: [choice(branch('x', { initializer: [w] }), branch('w'))] }, /needs w, which no node/],
    ['a name that hides another', { node: [choice(branch('x', { initializer: [floats('x', [1])] }), branch('x'))] }, /x is made twice/],
    [
      'an output that nobody makes',
      { node: [choice(branch('x', { output: [value('o', FLOAT)] }), branch('x'))] },
      /the output o of a graph in it/,
    ],
    ['what is used outside', { node: [choice(branch('x'), branch('x')), node('Add', ['b', 'x'], ['z'])] }, /\(Add\) needs b/],
    [
      'a dimension that is none',
      { node: [choice(branch('x', { input: [value('i', FLOAT, [-3])] }), branch('x'))] },
      /has a dimension of -3/,
    ],
    [
      'what ends the process',
      {
        node: [
          choice(branch('x', { node: [node('ConstantOfShape', ['s'], ['b'])], initializer: [integers('s', [2 ** 40])] }), branch('x')),
        ],
      },
      /asks for 1099511627776 elements/,
    ],
    [
      'a loop of a billion rounds',
      { initializer: [integers('n', [2 ** 40], [])], node: [holding(node('Loop', ['n', ''], ['y']), { body: { output: [] } })] },
      /asks for 1099511627776 rounds/,
    ],
  ]
  it.each(wrong)('are refused with %s', (_, parts, message) => {
    expect(() => checkGraph(graphOf(parts))).toThrow(message)
    expect(() => checkGraph(graphOf(parts))).toThrow(AssetError)
  })

  it('are refused in any node but If, Loop and Scan', () => {
    expect(() => checkGraph(graphOf({ node: [holding(node('Relu', ['x'], ['y']), { body: {} })] }))).toThrow(/holds a graph of its own/)
  })
})

describe('element types', () => {
  const typesOf = (parts: Parts): Record<string, number> => {
    const graph = graphOf(parts)
    declareElementTypes(graph)
    return Object.fromEntries(
      graph.valueInfo.map(({ name, type }) => [name, type!.value.case === 'tensorType' ? type!.value.value.elemType : -1]),
    )
  }

  it('follow from the operators', () => {
    const nodes = [
      node('Shape', ['x'], ['shape']),
      node('Cast', ['x'], ['cast'], { to: UINT8 }),
      node('Greater', ['x', 'x'], ['greater']),
      node('Where', ['greater', 'cast', 'cast'], ['where']),
      node('TopK', ['x', 'shape'], ['top', 'at']),
      node('Constant', [], ['constant'], { value: integers('', [1], [1], INT32) }),
      node('ConstantOfShape', ['shape'], ['zeros']),
      node('Gather', ['cast', 'at'], ['rows']),
      node('QuantizeLinear', ['x', 's'], ['quantised']),
      node('DequantizeLinear', ['quantised', 's'], ['back']),
      node('SequenceConstruct', ['x'], ['list']),
      node('SequenceAt', ['list', 'at'], ['item']),
    ]
    expect(typesOf({ initializer: [floats('s', [1])], node: nodes })).toEqual({
      shape: INT64,
      cast: UINT8,
      greater: BOOL,
      where: UINT8,
      top: FLOAT,
      at: INT64,
      constant: INT32,
      zeros: FLOAT,
      rows: UINT8,
      quantised: UINT8,
      back: FLOAT,
    })
  })

  it('of a node with graphs are those of what these give', () => {
    const then: Parts = { node: [node('Shape', ['x'], ['b'])], output: [value('b', INT64)] }
    const made = choice(then, then)
    made.output = ['z']
    const body: Parts = {
      input: [value('i', INT64, []), value('go', BOOL, []), value('at', FLOAT)],
      node: [node('Identity', ['go'], ['on']), node('Identity', ['at'], ['next']), node('Cast', ['at'], ['each'], { to: INT32 })],
      output: [value('on', BOOL), value('next', FLOAT), { ...value('each', INT32), type: undefined } as never],
    }
    const loop = holding(node('Loop', ['', 'c', 'x'], ['last', 'all']), { body })
    expect(typesOf({ node: [made, loop] })).toEqual({ z: INT64, last: FLOAT, all: INT32 })
  })
})
