import { create, toBinary } from '@bufbuild/protobuf'
import { describe, expect, it } from 'vitest'
import { elementType, indexGraph } from '../../src/graph/cut.js'
import {
  TensorProto_DataType as DataType,
  GraphProtoSchema,
  ModelProtoSchema,
  TensorProtoSchema,
} from '../../src/graph/generated/onnx_pb.js'
import { quoted, shown } from '../../src/graph/names.js'
import { parseGraph, serializeGraph } from '../../src/graph/parse.js'
import { numbersOf } from '../../src/graph/values.js'
import { FATAL } from './fatal-graphs.js'
import { attribute, external, floats, integers, modelOf, node, type Parts, value } from './onnx.js'

const { FLOAT, INT64 } = DataType
const x = value('x', FLOAT, ['n', 2])
const y = value('y', FLOAT)
const index = (parts: Parts) => indexGraph(parseGraph(serializeGraph(modelOf(parts))))
const relu = (from: string, to: string) => node('Relu', [from], [to], {}, `/${to}`)

/** A message above 1000 characters is no line. */
function expectRefusal(run: () => unknown, code: string, text: RegExp): void {
  const refused = expect.objectContaining({ name: 'AssetError', code, message: expect.stringMatching(text) })
  let error: unknown
  try {
    run()
  } catch (thrown) {
    error = thrown
  }
  expect(error).toEqual(refused)
  expect((error as Error).message.length).toBeLessThan(500)
}

describe('a graph that can not be run in its order is refused', () => {
  const cases: [string, Parts, RegExp][] = [
    ['a value that nothing makes', { node: [relu('z', 'y')], output: [y] }, /node \/y \(Relu\) needs z, which no node before it makes/],
    ['nodes out of order', { input: [x], node: [relu('a', 'y'), relu('x', 'a')], output: [y] }, /needs a, which no node before/],
    ['a circle', { node: [relu('y', 'a'), relu('a', 'y')], output: [y] }, /needs y, which no node before/],
    ['a node that needs itself', { node: [relu('y', 'y')], output: [y] }, /needs y/],
    ['a value made twice', { input: [x], node: [relu('x', 'y'), relu('x', 'y')], output: [y] }, /y is made twice/],
    ['a node that makes an input', { input: [x], node: [relu('x', 'x')], output: [x] }, /x is made twice/],
    ['a node that makes a weight', { input: [x], initializer: [floats('w', [1])], node: [relu('x', 'w')], output: [y] }, /w is made twice/],
    ['two inputs of one name', { input: [x, x], node: [relu('x', 'y')], output: [y] }, /x is made twice/],
    ['two outputs of one name', { input: [x], node: [relu('x', 'y')], output: [y, y] }, /has the output y twice/],
    ['an output that nothing makes', { input: [x], node: [relu('x', 'a')], output: [y] }, /no node makes its output y/],
    ['an output that is a weight', { initializer: [floats('y', [1])], output: [y] }, /no node makes its output y/],
    ['an initializer without a name', { initializer: [floats('', [1])] }, /an initializer has no name/],
    ['a negative dimension', { input: [value('x', FLOAT, [-5])] }, /x has a dimension of -5/],
    ['an absurd dimension', { input: [value('x', FLOAT, [2n ** 62n])] }, /x has a dimension of 4611686018427387904/],
    ['dimensions without end', { input: [value('x', FLOAT, new Array(100_000).fill('n'))] }, /x has 100000 dimensions, at most 32/],
  ]
  for (const [what, parts, text] of cases) it(what, () => expectRefusal(() => index(parts), 'BAD_INPUT', text))

  it('a node of another domain, and one that holds a graph', () => {
    const other = Object.assign(relu('x', 'y'), { domain: 'com.microsoft' })
    expectRefusal(() => index({ input: [x], node: [other], output: [y] }), 'UNSUPPORTED', /\/y \(Relu\) is of the domain "com\.microsoft"/)
    const loop = relu('x', 'y')
    loop.attribute.push(Object.assign(attribute('body', 0), { g: create(GraphProtoSchema, {}) }))
    expectRefusal(() => index({ input: [x], node: [loop], output: [y] }), 'UNSUPPORTED', /\/y \(Relu\) holds a graph of its own/)
  })

  it('and what is in order is not: inputs that are outputs, missing inputs, defaults, nodes that nobody needs', () => {
    const clip = node('Clip', ['x', '', 'w'], ['y', ''])
    const parts = { input: [x, value('w', FLOAT, [1])], initializer: [floats('w', [1])], node: [clip, relu('y', 'z')], output: [y, x] }
    expect(index(parts).inputs.map(({ name }) => name)).toEqual(['x'])
    const prototype = {
      input: [value('__proto__', FLOAT)],
      node: [relu('__proto__', 'constructor')],
      output: [value('constructor', FLOAT)],
    }
    expect(elementType(index(prototype), '__proto__')).toBe(FLOAT)
    for (const opType of ['constructor', '__proto__', 'toString'])
      expect(() => index({ input: [x], node: [node(opType, ['x'], ['y'])], output: [y] })).not.toThrow()
  })
})

describe('what ends the process inside ONNX Runtime is refused', () => {
  for (const [what, [model, text]] of Object.entries(FATAL))
    it(what, () => expectRefusal(() => indexGraph(parseGraph(serializeGraph(model))), 'BAD_INPUT', text))

  it('and what is near to it is not', () => {
    const fine: Parts[] = [
      { node: [node('Div', ['x', 'by'], ['y'])], initializer: [floats('by', [-1])] },
      { node: [node('Slice', ['x', 'from', 'to'], ['y'])], initializer: [integers('from', [0]), integers('to', [2n ** 63n - 1n])] },
      { node: [node('Reshape', ['x', 'to'], ['y'])], initializer: [integers('to', [-1, 0])] },
      { node: [node('Expand', ['x', 'to'], ['y'])], initializer: [integers('to', [4096, 65_536])] },
      { node: [node('OneHot', ['x', 'depth', 'x'], ['y'])], initializer: [external('depth', INT64, [1])] },
      { node: [node('Range', ['from', 'to', 'x'], ['y'])], initializer: [integers('from', [0], []), integers('to', [2n ** 40n], [])] },
      { node: [node('Attention', ['x', 'x', 'x'], ['y'])] },
    ]
    for (const parts of fine) expect(() => index({ input: [x], output: [y], ...parts })).not.toThrow()
  })
})

describe('a tensor whose bytes lie in a file', () => {
  const t = external('leak', FLOAT, [4], 'secret.txt')
  const elsewhere: [string, Parts | Parameters<typeof create<typeof ModelProtoSchema>>[1]][] = [
    ['the value of a Constant', { graph: { node: [{ opType: 'Constant', attribute: [{ name: 'value', t }] }] } }],
    ['one of many in an attribute', { graph: { node: [{ opType: 'Constant', attribute: [{ name: 'values', tensors: [t] }] }] } }],
    ['a sparse attribute', { graph: { node: [{ opType: 'Constant', attribute: [{ name: 'v', sparseTensor: { values: t } }] }] } }],
    ['sparse attributes', { graph: { node: [{ attribute: [{ name: 'v', sparseTensors: [{ indices: t }] }] }] } }],
    ['a sparse initializer', { graph: { sparseInitializer: [{ values: t }] } }],
    ['an initializer of a subgraph', { graph: { node: [{ attribute: [{ name: 'body', g: { initializer: [t] } }] }] } }],
    ['an initializer of one of many', { graph: { node: [{ attribute: [{ name: 'body', graphs: [{ initializer: [t] }] }] }] } }],
    ['a function', { graph: {}, functions: [{ node: [{ opType: 'Constant', attribute: [{ name: 'value', t }] }] }] }],
    ['a default of a function', { graph: {}, functions: [{ attributeProto: [{ name: 'value', t }] }] }],
    ['the start of a training', { graph: {}, trainingInfo: [{ initialization: { initializer: [t] } }] }],
    ['the algorithm of a training', { graph: {}, trainingInfo: [{ algorithm: { initializer: [t] } }] }],
  ]
  for (const [what, init] of elsewhere)
    it(`is refused as ${what}`, () => {
      const bytes = toBinary(ModelProtoSchema, create(ModelProtoSchema, init as Parameters<typeof create<typeof ModelProtoSchema>>[1]))
      expectRefusal(
        () => parseGraph(bytes),
        'BAD_INPUT',
        /tensor "leak": its data lies in a file, which only an initializer of the main graph/,
      )
    })

  it('is read as an initializer of the graph', () => {
    const { weights } = index({ input: [x], initializer: [t], node: [node('Add', ['x', 'leak'], ['y'])], output: [y] })
    expect(weights.get('leak')!.data).toEqual({ location: 'secret.txt', offset: 0, length: 16 })
  })

  it('and nothing that the schema does not know is handed on', () => {
    const bytes = Buffer.concat([serializeGraph(modelOf({ input: [x], output: [x] })), Uint8Array.of(0xfa, 0x7f, 3, 1, 2, 3)])
    expect(Buffer.compare(serializeGraph(parseGraph(bytes)), serializeGraph(modelOf({ input: [x], output: [x] })))).toBe(0)
  })
})

describe('the numbers of a tensor', () => {
  it('are read from any place, and from a Buffer too', () => {
    const { model } = index({ initializer: [integers('i', [1, -2]), floats('f', [0.5])], input: [x], output: [x] })
    const bytes = Buffer.concat([Buffer.alloc(1), serializeGraph(model)]).subarray(1)
    const [i, f] = parseGraph(bytes).graph!.initializer
    expect([numbersOf(i!), numbersOf(f!)]).toEqual([[1, -2], [0.5]])
    const lists = create(TensorProtoSchema, { dataType: INT64, dims: [2n], int64Data: [3n, 4n] })
    const flags = create(TensorProtoSchema, { dataType: DataType.BOOL, dims: [2n], int32Data: [0, 1] })
    expect([numbersOf(lists), numbersOf(flags), numbersOf(external('e', DataType.DOUBLE, [1]))]).toEqual([[3, 4], [0, 1], undefined])
  })
})

describe('names in messages', () => {
  it('are cut, and have nothing in them that a terminal obeys', () => {
    expect(shown('/model/layers.0:x@y-z')).toBe('/model/layers.0:x@y-z')
    expect(shown('a b')).toBe('"a b"')
    expect(shown('\x1b[31m\n')).toBe('"\\u001b[31m\\n"')
    expect(shown('')).toBe('""')
    expect(quoted('x'.repeat(5e6)).length).toBeLessThan(120)
  })

  it('of five megabytes make no long line, wherever they stand', () => {
    const long = 'x'.repeat(5e6)
    const named = Object.assign(relu('z', long), { name: long, opType: long })
    const bad: Parts[] = [
      { node: [named] },
      { input: [value(long, FLOAT, [-1])] },
      { input: [x], output: [value(long, FLOAT)] },
      { initializer: [floats(long, [1]), floats(long, [1])] },
      { initializer: [external(long, FLOAT, [1], `../${long}`)] },
      { initializer: [external('w', FLOAT, [1], long, long)] },
    ]
    for (const parts of bad) expectRefusal(() => index(parts), 'BAD_INPUT', /^Cannot (run|read)/)
    const other = Object.assign(relu('x', 'y'), { name: long, domain: long })
    expectRefusal(() => index({ input: [x], node: [other], output: [y] }), 'UNSUPPORTED', /is of the domain "xxx/)
    const untyped = index({ input: [x], node: [relu('x', long)] })
    expectRefusal(() => elementType(untyped, long), 'UNSUPPORTED', /does not say the element type of "xxx/)
  })
})
