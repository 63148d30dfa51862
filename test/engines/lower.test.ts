import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { buildGraph } from '../../models/registry.js'
import { AssetError } from '../../src/core/errors.js'
import { divideGraph } from '../../src/engines/native/divide.js'
import { lowerGraph } from '../../src/engines/native/lower.js'
import { planProgram, specText } from '../../src/engines/native/spec.js'
import { type GraphIndex, indexGraph } from '../../src/graph/cut.js'
import { TensorProto_DataType as DataType, type ModelProto } from '../../src/graph/generated/onnx_pb.js'
import { liveGraph } from '../../src/graph/live.js'
import { parseGraph, serializeGraph } from '../../src/graph/parse.js'
import { attribute, external, modelOf, node, value } from '../graph/onnx.js'
import { readJson, stateDictOf } from '../models/checkpoint.js'
import { decoderConfig, decoderWeights } from '../models/synthetic.js'
import { TINY_DECODERS } from '../models/tiny.js'
import { sharedModel } from '../shared.js'
import { expectWhole } from './programs.js'

const { FLOAT } = DataType
const synthetic = () => buildGraph(decoderConfig, decoderWeights())
const FAMILIES = [...TINY_DECODERS, 'tiny-bert', 'tiny-roberta', 'tiny-distilbert', 'tiny-sentence']
const here = FAMILIES.filter((name) => sharedModel(name) !== undefined)

function modelNamed(name: string): ModelProto {
  const folder = sharedModel(name)!
  return buildGraph(readJson(folder, 'config.json'), stateDictOf(folder))
}

describe('a graph as a native program', () => {
  it.each(here)('%s: every weight is used, every input and output is there, the last row is enough for a decoder', (name) => {
    const index = indexGraph(modelNamed(name))
    const program = lowerGraph(index)
    expectWhole(index, program)
    expect([...program.vectors, ...program.matrices].sort()).toEqual([...index.weights.keys()].sort())
    expect(program.segments[0]!.head !== undefined).toBe(index.outputs.some(({ name }) => name === 'logits'))
    expect(program.caches).toHaveLength(index.inputs.filter(({ name }) => name.endsWith('.key')).length)
  })

  it('joins x * sigmoid(x), casts and transpositions of weights; keeps what fills a cache, leaves out what nobody needs', () => {
    const index = indexGraph(synthetic())
    const { nodes } = lowerGraph(index).segments[0]!
    const count = (op: string, f?: string) =>
      nodes.filter(({ run }) => run.op === op && (f === undefined || ('f' in run && run.f === f))).length
    expect([count('unary', 'silu'), count('unary', 'sigmoid'), count('linear'), count('attention')]).toEqual([2, 0, 15, 2])
    const caches = { ...index, outputs: index.outputs.filter(({ name }) => name !== 'logits') }
    const kept = lowerGraph(caches).segments[0]!.nodes
    expect(kept.filter(({ run }) => run.op === 'attention')).toHaveLength(2)
    expect(kept.filter(({ run }) => run.op === 'linear')).toHaveLength(10)
  })

  it('of fifty thousand matrices is made within the limit of a test', () => {
    const names = Array.from({ length: 50_000 }, (_, at) => `${at}`)
    const index = indexGraph(
      modelOf({
        input: [value('x0', FLOAT, ['n', 2])],
        initializer: names.map((at) => external(`w${at}`, FLOAT, [2, 2], `${at}.bin`)),
        node: names.map((at) => node('MatMul', [`x${at}`, `w${at}`], [`x${Number(at) + 1}`])),
        output: [value('x50000', FLOAT)],
      }),
    )
    const program = lowerGraph(index)
    const plan = planProgram(index, program, (total) => Math.floor(total / 2))
    const files = new Map(names.map((at) => [`${at}.bin`, { key: at, path: at, size: 16, firstSum: 0 }]))
    expect(JSON.parse(specText(index, program, plan, files, { precision: 'exact', kvCache: 'f32' })).weights[49_999].stored.file).toBe(
      49_999,
    )
  })
})

describe('lowering a graph that was changed anyhow', () => {
  const models = [synthetic(), ...here.map(modelNamed)].map(serializeGraph)
  const OPS = [
    'Add',
    'Mul',
    'MatMul',
    'Gather',
    'Cast',
    'Transpose',
    'DequantizeLinear',
    'Identity',
    'Attention',
    'Slice',
    'Split',
    'Shape',
    'Reshape',
    'Where',
    'Concat',
    'Squeeze',
    'RotaryEmbedding',
    'ReduceSum',
    'Range',
    'Softmax',
  ]
  const odd = fc.oneof(
    fc.integer(),
    fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
    fc.constantFrom(0, -1, 0.5, Number.NaN, 'none'),
    fc.array(fc.integer(), { maxLength: 3 }),
  )
  const change = fc.record({ kind: fc.nat(9), at: fc.nat(), other: fc.nat(), op: fc.constantFrom(...OPS), odd })

  function apply(model: ModelProto, { kind, at, other, op, odd }: ReturnType<typeof change.generate>['value']): void {
    const { node: nodes, initializer, input, output } = model.graph!
    const target = nodes[at % nodes.length]!
    const names = [...input, ...initializer]
      .map(({ name }) => name)
      .concat(nodes.slice(0, at % nodes.length).flatMap((made) => made.output))
    const declared = [...input, ...output, ...model.graph!.valueInfo]
    const type = declared[other % declared.length]!.type!.value
    const list = target.input
    if (kind === 0) target.opType = op
    else if (kind === 1) list.splice(other % (list.length + 1), 1)
    else if (kind === 2) list.push(names[other % names.length]!)
    else if (kind === 3) list[other % Math.max(1, list.length)] = other % 7 === 0 ? '' : names[other % names.length]!
    else if (kind === 4) target.output.splice(other % target.output.length, 1)
    else if (kind === 5) target.output.push(other % 2 === 0 ? '' : `made ${other}`)
    else if (kind === 6)
      target.attribute[other % Math.max(1, target.attribute.length)] = attribute(target.attribute[0]?.name ?? 'axis', odd)
    else if (kind === 7 && type.case === 'tensorType') type.value.elemType = other % 18
    else if (kind === 8 && type.case === 'tensorType') type.value.shape?.dim.splice(other % 4, 1)
    else nodes.splice(at % nodes.length, 1)
  }

  /** The same graph divided between the engines. */
  function expectDivided(index: GraphIndex): boolean {
    const { segments, program } = divideGraph(liveGraph(index))
    const native = segments.flatMap(({ engine, graph }) => (engine === 'native' ? [graph] : []))
    if (program) expectWhole(index, program, native)
    expect(program !== undefined).toBe(native.length > 0)
    return native.length > 0
  }

  it('divided, throws nothing but AssetError, and gives only programs that are whole', () => {
    const seen = { divided: 0, not: 0 }
    fc.assert(
      fc.property(fc.constantFrom(...models), fc.array(change, { minLength: 1, maxLength: 6 }), (bytes, changes) => {
        const model = parseGraph(bytes)
        for (const one of changes) apply(model, one)
        try {
          if (expectDivided(indexGraph(model))) seen.divided += 1
          else seen.not += 1
        } catch (error) {
          if (!(error instanceof AssetError)) throw error
        }
      }),
      { numRuns: 500 },
    )
    expect(seen.divided).toBeGreaterThan(50)
    expect(seen.not).toBeGreaterThan(0)
  })

  it('throws nothing but AssetError, and gives only programs that are whole', () => {
    const seen = { lowered: 0, refused: 0 }
    fc.assert(
      fc.property(fc.constantFrom(...models), fc.array(change, { minLength: 1, maxLength: 3 }), (bytes, changes) => {
        const model = parseGraph(bytes)
        for (const one of changes) apply(model, one)
        try {
          const index = indexGraph(model)
          const program = lowerGraph(index)
          expectWhole(index, program)
          const plan = planProgram(index, program, (total) => total)
          JSON.parse(specText(index, program, plan, new Map(), { precision: 'exact', kvCache: 'f32' }), (key, field) => {
            if (field === null && key !== 'head') throw new Error('a number that JSON can not say')
            return field
          })
          seen.lowered += 1
        } catch (error) {
          if (!(error instanceof AssetError)) throw error
          seen.refused += 1
        }
      }),
      { numRuns: 1500 },
    )
    expect(seen.lowered).toBeGreaterThan(50)
    expect(seen.refused).toBeGreaterThan(50)
  })
})
