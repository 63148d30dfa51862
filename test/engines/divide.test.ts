import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { buildGraph } from '../../models/registry.js'
import { type Division, divideGraph } from '../../src/engines/native/divide.js'
import { indexGraph } from '../../src/graph/cut.js'
import { TensorProto_DataType as DataType, type ModelProto } from '../../src/graph/generated/onnx_pb.js'
import { liveGraph } from '../../src/graph/live.js'
import { parseGraph, serializeGraph } from '../../src/graph/parse.js'
import { disguise } from '../executor/disguise.js'
import { external, floats, integers, modelOf, node, type Parts, value } from '../graph/onnx.js'
import { decoderConfig, decoderWeights } from '../models/synthetic.js'
import { expectWhole } from './programs.js'

const { FLOAT, INT64, BFLOAT16, FLOAT16, BOOL } = DataType

const divided = (model: ModelProto): Division => divideGraph(liveGraph(indexGraph(parseGraph(serializeGraph(model)))))
const shown = ({ segments }: Division) =>
  segments.map(({ engine, graph }) => `${engine}: ${graph.nodes.map(({ output }) => output[0]).join(' ')}`)

/** A graph with x (n, 4), weights w, u and v (4, 4), bias (4), a table (8, 4) and ids, whose values are all declared as floats. */
function graph(nodes: ReturnType<typeof node>[], outputs: string[], rest: Parts = {}): ModelProto {
  const made = nodes.flatMap(({ output }) => output)
  return modelOf({
    input: [value('x', FLOAT, ['n', 4]), value('ids', INT64, ['n'])],
    initializer: [
      ...['w', 'u', 'v'].map((name) => external(name, FLOAT, [4, 4])),
      external('h', BFLOAT16, [4, 4]),
      external('bias', FLOAT, [4]),
      external('table', FLOAT, [8, 4]),
      floats('half', [0.5]),
      integers('axes', [0]),
    ],
    node: nodes,
    valueInfo: made.filter((name) => !outputs.includes(name)).map((name) => value(name, FLOAT)),
    output: outputs.map((name) => value(name, FLOAT)),
    ...rest,
  })
}

const mm = (input: string, output: string, weight = 'w') => node('MatMul', [input, weight], [output])

describe('a graph divided between the engines', () => {
  it('has a segment for each change of engines, each with what it takes and makes', () => {
    const division = divided(graph([mm('x', 'a'), node('Erf', ['a'], ['b']), mm('b', 'c', 'u')], ['c']))
    expect(shown(division)).toEqual(['native: a', 'onnx: b', 'native: c'])
    expect(division.segments.map(({ graph }) => [graph.inputs.map(({ name }) => name), graph.outputs.map(({ name }) => name)])).toEqual([
      [['x'], ['a']],
      [['a'], ['b']],
      [['b'], ['c']],
    ])
    expect(division.segments[1]!.why).toBe('Erf (node "") is not known to it')
    expect(division.program!.matrices).toEqual(['w', 'u'])
  })

  it('has as few of them as can be, in whatever order the nodes come', () => {
    const nodes = ['w', 'u', 'v'].flatMap((weight) => [mm('x', `${weight}1`, weight), node('Erf', [`${weight}1`], [`${weight}2`])])
    const sum = [node('Add', ['w2', 'u2'], ['s']), node('Add', ['s', 'v2'], ['t']), mm('t', 'y')]
    expect(shown(divided(graph([...nodes, ...sum], ['y'])))).toEqual(['native: w1 u1 v1', 'onnx: w2 u2 v2', 'native: s t y'])
  })

  it('leaves to ONNX Runtime what holds no product with a weight, and says so', () => {
    const nodes = [node('Erf', ['x'], ['a']), node('Relu', ['a'], ['b']), node('Erf', ['b'], ['c']), mm('c', 'y')]
    const division = divided(graph(nodes, ['y']))
    expect(shown(division)).toEqual(['onnx: a b c', 'native: y'])
    const none = divided(graph([node('Relu', ['x'], ['a']), node('Erf', ['a'], ['y'])], ['y']))
    expect(shown(none)).toEqual(['onnx: a y'])
    expect(none).toMatchObject({ segments: [{ why: 'Erf (node "") is not known to it' }] })
    expect(none.program).toBeUndefined()
    const rows = divided(graph([node('Gather', ['table', 'ids'], ['a']), node('Erf', ['a'], ['b']), node('Relu', ['b'], ['y'])], ['y']))
    expect(rows.program).toBeUndefined()
  })

  it('gives the cast and transposition of a weight to whoever uses them, to both where both do', () => {
    const cast = node('Cast', ['h'], ['f'], { to: FLOAT })
    const turned = node('Transpose', ['f'], ['t'], { perm: [1, 0] })
    const nodes = [cast, turned, mm('x', 'a', 't'), node('LogSoftmax', ['a'], ['b']), node('Sub', ['f', 'b'], ['c']), mm('c', 'y', 't')]
    const division = divided(graph(nodes, ['y']))
    expect(shown(division)).toEqual(['native: f t a', 'onnx: b f c', 'native: f t y'])
    expect(division.segments[1]!.graph.inputs.map(({ name }) => name)).toEqual(['a'])
    expect(division.program!.matrices).toEqual(['h'])
  })

  it('reads rows that both engines need once', () => {
    const nodes = [node('Gather', ['table', 'ids'], ['r']), node('Erf', ['r'], ['e']), mm('e', 'a'), node('Add', ['a', 'r'], ['y'])]
    expect(shown(divided(graph(nodes, ['y'])))).toEqual(['onnx: r e', 'native: a y'])
    const natively = [mm('r', 'n', 'u'), node('Add', ['y', 'n'], ['z'])]
    const more = [node('Gather', ['table', 'ids'], ['r']), ...nodes.slice(1), ...natively]
    expect(shown(divided(graph(more, ['z'])))).toEqual(['native: r n', 'onnx: e', 'native: a y z'])
  })

  it('computes what depends on no input right before it is needed', () => {
    const nodes = [
      node('Erf', ['v'], ['ev']),
      node('Erf', ['u'], ['eu']),
      mm('x', 'a'),
      node('Add', ['a', 'eu'], ['b']),
      node('LogSoftmax', ['b'], ['c']),
      mm('c', 'd'),
      node('LogSoftmax', ['d'], ['e']),
      node('Div', ['e', 'ev'], ['f']),
      node('LogSoftmax', ['f'], ['y']),
    ]
    const division = divided(graph(nodes, ['y']))
    expect(shown(division)).toEqual(['native: a', 'onnx: eu b c', 'native: d', 'onnx: ev e f y'])
  })

  it('lets only floats, 64-bit integers and booleans that are declared cross into the native engine', () => {
    const nodes = [mm('x', 'a'), node('Erf', ['a'], ['b']), mm('b', 'c', 'u'), node('Erf', ['c'], ['y'])]
    const info = (b: ReturnType<typeof value>[]) => ({ valueInfo: [value('a', FLOAT), ...b, value('c', FLOAT)] })
    for (const odd of [[], [value('b', FLOAT16)]])
      expect(shown(divided(graph(nodes, ['y'], info(odd))))).toEqual(['native: a', 'onnx: b c y'])
    expect(shown(divided(graph(nodes, ['y'], { valueInfo: [] })))).toEqual(['onnx: a b c y'])
    const choice = [node('Not', ['m'], ['k']), node('Where', ['k', 'x', 'half'], ['c']), mm('c', 'y')]
    const bools = { input: [value('x', FLOAT, ['n', 4]), value('m', BOOL, ['n', 1])], valueInfo: [value('k', BOOL), value('c', FLOAT)] }
    expect(shown(divided(graph(choice, ['y'], bools)))).toEqual(['onnx: k', 'native: c y'])
  })

  it('of a decoder keeps each cache in one engine, and every weight somewhere', () => {
    const model = buildGraph(decoderConfig, decoderWeights())
    disguise(model)
    const index = indexGraph(parseGraph(serializeGraph(model)))
    const { segments, program } = divideGraph(liveGraph(index))
    const native = segments.flatMap(({ engine, graph }) => (engine === 'native' ? [graph] : []))
    expectWhole(index, program!, native)
    expect(program!.caches.map(({ past }) => past[0])).toEqual(['past_key_values.0.key'])
    const used = new Set(segments.flatMap(({ graph }) => graph.nodes.flatMap(({ input }) => input)))
    for (const name of index.weights.keys()) expect(used.has(name)).toBe(true)
    expect(segments.map(({ engine }) => engine).join(' ')).toMatch(/^(onnx native ?)+$/)
    expect(program!.segments.at(-1)!.head).toBeDefined()
  })

  it('of a hundred thousand nodes that take turns is made within the limit of a test', () => {
    const nodes = Array.from({ length: 50_000 }, (_, at) => [
      mm(`v${2 * at}`, `v${2 * at + 1}`),
      node('Erf', [`v${2 * at + 1}`], [`v${2 * at + 2}`]),
    ])
    const model = graph(nodes.flat(), ['v100000'], { input: [value('v0', FLOAT, ['n', 4])] })
    expect(divided(model).segments).toHaveLength(100_000)
    // a chain of nodes about a weight that each of many segments would take
    const chain = Array.from({ length: 20_000 }, (_, at) => node('Identity', [at === 0 ? 'u' : `c${at - 1}`], [`c${at}`]))
    const users = nodes.slice(0, 200).map(([, erf], at) => [mm(`v${2 * at}`, `v${2 * at + 1}`, 'c19999'), erf!])
    const long = graph([...chain, ...users.flat()], ['v400'], { input: [value('v0', FLOAT, ['n', 4])] })
    expect(() => divided(long)).toThrow(expect.objectContaining({ code: 'LIMIT' }))
  })

  it('computes every output from what is there, whatever the graph', () => {
    const OPS = ['MatMul', 'Add', 'Mul', 'Relu', 'Sigmoid', 'Erf', 'Softmax', 'Neg', 'Identity', 'Transpose', 'Gather']
    const step = fc.record({ op: fc.constantFrom(...OPS), a: fc.nat(), b: fc.nat() })
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 30 }), fc.nat(3), (steps, extra) => {
        const names = ['x']
        const weights = ['w', 'u', 'v']
        const nodes = steps.map(({ op, a, b }, at) => {
          const [one, two, output] = [names[a % names.length]!, names[b % names.length]!, `n${at}`]
          const weight = weights[b % weights.length]!
          if (op === 'Transpose') weights.push(output)
          else names.push(output)
          if (op === 'MatMul') return node(op, [one, weight], [output])
          if (op === 'Gather') return node(op, ['table', 'ids'], [output])
          if (op === 'Transpose') return node(op, [weight], [output], { perm: [1, 0] })
          return node(op, op === 'Add' || op === 'Mul' ? [one, b % 5 === 0 ? 'bias' : two] : [one], [output])
        })
        const ends = [...new Set([names.at(-1)!, names[extra % names.length]!])].filter((name) => name !== 'x')
        fc.pre(ends.length > 0)
        const index = liveGraph(indexGraph(parseGraph(serializeGraph(graph(nodes, ends)))))
        const { segments, program } = divideGraph(index)
        const known = new Set([...index.inputs.map(({ name }) => name)])
        for (const [at, { engine, graph }] of segments.entries()) {
          if (at > 0) expect(engine).not.toBe(segments[at - 1]!.engine)
          for (const { name } of graph.inputs) expect(known.has(name)).toBe(true)
          for (const { name } of graph.outputs) known.add(name)
          const inside = new Set([...graph.inputs.map(({ name }) => name), ...index.weights.keys(), ...index.constants.keys()])
          for (const { input, output } of graph.nodes) {
            for (const name of input) expect(inside.has(name)).toBe(true)
            for (const name of output) inside.add(name)
          }
        }
        for (const name of ends) expect(known.has(name)).toBe(true)
        const native = segments.flatMap(({ engine, graph }) => (engine === 'native' ? [graph] : []))
        if (program) expectWhole(index, program, native)
        expect(native.length > 0).toBe(program !== undefined)
      }),
      { numRuns: 500 },
    )
  })
})
