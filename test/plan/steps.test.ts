import { describe, expect, it } from 'vitest'
import { type GraphIndex, indexGraph } from '../../src/graph/cut.js'
import { TensorProto_DataType as DataType } from '../../src/graph/generated/onnx_pb.js'
import { planGraph } from '../../src/plan/plan.js'
import { type OnnxStep, planSteps } from '../../src/plan/steps.js'
import { twoExperts } from '../graph/experts.js'
import { external, integers, modelOf, node, type Parts, value } from '../graph/onnx.js'

const { FLOAT, INT64, INT32 } = DataType
const table = external('table', FLOAT, [4, 2])
const index = (parts: Parts): GraphIndex => indexGraph(modelOf(parts))
const kinds = (steps: readonly OnnxStep[]): string[] =>
  steps.map((step) => {
    if (step.kind === 'gather') return `${step.table}[${step.ids}]`
    return step.kind === 'branch' ? `{${kinds(step.steps).join('; ')}}` : step.nodes.map(({ opType }) => opType).join()
  })

describe('the steps of a graph', () => {
  const gather = (parts: Parts, input = ['table', 'ids'], attributes = {}) =>
    kinds(
      planSteps(index({ initializer: [table], node: [node('Gather', input, ['y'], attributes)], output: [value('y', FLOAT)], ...parts })),
    )

  it('read the rows of a table alone where integers say which', () => {
    for (const type of [INT64, INT32]) expect(gather({ input: [value('ids', type)] })).toEqual(['table[ids]'])
    expect(gather({ input: [value('ids', INT64)] }, ['table', 'ids'], { axis: 0 })).toEqual(['table[ids]'])
  })

  it('leave any other Gather to its engine', () => {
    const segment = ['Gather']
    expect(gather({ input: [value('ids', FLOAT)] })).toEqual(segment)
    expect(gather({ input: [value('ids', INT64)] }, ['table', 'ids'], { axis: 1 })).toEqual(segment)
    expect(gather({ input: [value('ids', INT64)], output: [value('y', INT64)] })).toEqual(segment)
    expect(gather({}, ['table'])).toEqual(segment)
    expect(gather({ initializer: [table, external('ids', INT64, [2, 2])] })).toEqual(segment)
    const constant = { initializer: [table, integers('ids', [1])], valueInfo: [value('ids', INT64)] }
    expect(gather(constant)).toEqual(segment)
  })

  it('leave out what nobody needs', () => {
    const parts = {
      input: [value('ids', INT64), value('x', FLOAT)],
      initializer: [table, external('w', FLOAT, [2, 2]), external('u', FLOAT, [2, 2])],
      node: [node('Gather', ['table', 'ids'], ['rows']), node('MatMul', ['x', 'w'], ['y']), node('MatMul', ['y', 'u'], ['z'])],
      output: [value('y', FLOAT)],
    }
    const { steps, memory } = planGraph(index(parts), () => 1000)
    expect(steps).toEqual([{ kind: 'segment', nodes: [parts.node[1]], inputs: ['x'], weights: ['w'], outputs: ['y'] }])
    expect(memory.total).toBe(16)
  })

  it('of a branch are a step together, which needs its places and its data too', () => {
    const parts = twoExperts()
    const { steps, memory } = planGraph(index(parts), () => 1000)
    expect(kinds(steps as OnnxStep[])).toEqual([
      'NonZero,Transpose',
      '{GatherND,MatMul,ScatterND}',
      'NonZero,Transpose',
      '{GatherND,MatMul,ScatterND}',
    ])
    expect(steps[3]).toMatchObject({ inputs: ['y/rows', 'y/a', 'x'], weights: ['wb'], rows: 'y/rows', data: 'y/a', output: 'y' })
    expect(memory.cache).toEqual({ names: new Set(['wa', 'wb']), minimum: 64, total: 128, budget: 128 })
    expect([memory.total, memory.residency.total]).toEqual([128, 0])
  })

  it('let a weight of a branch be cached whoever else uses it', () => {
    const parts = twoExperts()
    const more = { ...parts, node: [...parts.node, node('MatMul', ['y', 'wa'], ['z'])], output: [...parts.output, value('z', FLOAT)] }
    const { memory } = planGraph(index(more), () => 1000)
    expect([[...memory.cache.names], memory.residency.total]).toEqual([['wa', 'wb'], 0])
  })

  it('of fifty thousand Gathers and as many matrices are planned within the limit of a test', () => {
    const names = Array.from({ length: 50_000 }, (_, at) => `${at}`)
    const weights = names.map((at) => external(`w${at}`, FLOAT, [2, 2]))
    const nodes = names.flatMap((at) => [node('Gather', ['table', 'ids'], [`g${at}`]), node('MatMul', [`g${at}`, `w${at}`], [`y${at}`])])
    const steps = {
      input: [value('ids', INT64)],
      initializer: [table, ...weights],
      node: nodes,
      output: names.map((at) => value(`y${at}`, FLOAT)),
    }
    const plan = planGraph(index(steps), (total) => Math.floor(total * 0.6))
    expect(plan.steps).toHaveLength(100_000)
    const { residency } = plan.memory
    expect(residency.pinnedBytes + residency.bytesPerPass).toBe(50_000 * 16)
    expect(residency.pinned.size).toBe(30_000 - 2)
  })
})
