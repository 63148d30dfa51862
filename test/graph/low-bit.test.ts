import { describe, expect, it } from 'vitest'
import type { Dtype } from '../../src/core/dtypes.js'
import { lowerGraph } from '../../src/engines/native/lower.js'
import { planProgram } from '../../src/engines/native/spec.js'
import { GraphBuilder } from '../../src/graph/build.js'
import { cutGraph, indexGraph } from '../../src/graph/cut.js'
import type { ModelProto } from '../../src/graph/generated/onnx_pb.js'
import { embedding, linear } from '../../src/graph/modules.js'
import { parseGraph, serializeGraph } from '../../src/graph/parse.js'
import { weightRoles } from '../../src/graph/roles.js'
import type { WeightRef } from '../../src/graph/weights.js'
import { planSteps } from '../../src/plan/steps.js'

type Tensors = Record<string, readonly [Dtype, ...number[]]>

const TENSORS: Tensors = {
  'embed.weight': ['I8', 100, 64],
  'embed.weight_scale': ['F16', 100, 2],
  'up.weight': ['U8', 96, 32],
  'up.weight_scale': ['F16', 96, 2],
}
const BYTES: Partial<Record<Dtype, number>> = { F32: 4, F16: 2 }

/** Rows of an embedding of 8 bits, times a weight of 4 bits. */
function build(change: Tensors = {}): ModelProto {
  let offset = 4096
  const weights = new Map<string, WeightRef>()
  for (const [name, [dtype, ...shape]] of Object.entries({ ...TENSORS, ...change })) {
    const length = shape.reduce((product, dim) => product * dim, BYTES[dtype] ?? 1)
    if (shape.length > 0) weights.set(name, { dtype, shape, location: 'modules/a.safetensors', offset, length })
    offset += length
  }
  const graph = new GraphBuilder('low-bit', weights)
  const root = graph.module('')
  const x = embedding(root.child('embed'), graph.input('ids', 'I64', ['batch', 'sequence']), 100, 64)
  graph.output(linear(root.child('up'), x, { inputs: 64, outputs: 96, bias: false, name: 'y' }))
  return graph.finish()
}

/** The graph with one attribute of its nth DequantizeLinear changed. */
function changed(nth: number, name: string, value: bigint): ModelProto {
  const model = build()
  const node = model.graph!.node.filter(({ opType }) => opType === 'DequantizeLinear')[nth]!
  node.attribute.find((attribute) => attribute.name === name)!.i = value
  return model
}

const lower = (model: ModelProto) => lowerGraph(indexGraph(parseGraph(serializeGraph(model))))

describe('graphs with weights of whole numbers', () => {
  it('natively, weights and scales are one matrix, and rows of a table one node', () => {
    const program = lower(build())
    expect(program.segments[0]!.nodes.map(({ run }) => run.op)).toEqual(['rows', 'linear'])
    expect([...program.matrices].sort()).toEqual(['embed.weight', 'up.weight'])
    expect(Object.fromEntries(program.scales)).toEqual({ 'embed.weight': 'embed.weight_scale', 'up.weight': 'up.weight_scale' })
  })

  it('tiles count the scales of their rows to the byte', () => {
    const index = indexGraph(build())
    const program = lowerGraph(index)
    const whole = planProgram(index, program, (total) => total)
    expect(whole).toMatchObject({ total: 96 * (32 + 4), pinnedBytes: 96 * 36, bytesPerPass: 0 })
    // 3 slots of at most a page each for weights and for scales
    expect(() => planProgram(index, program, () => 1)).toThrow(/give at least 3456 bytes/)
  })

  it('for ONNX Runtime a segment has the weight and its scales, and takes nibbles as bytes', () => {
    const index = indexGraph(build())
    const steps = planSteps(index)
    expect(steps.map((step) => (step.kind === 'gather' ? step.table : step.weights))).toEqual([
      'embed.weight',
      'embed.weight_scale',
      ['up.weight_scale', 'up.weight'],
    ])
    const segment = steps[2]!
    if (segment.kind !== 'segment') throw new Error('it is a segment')
    const { graph } = parseGraph(cutGraph(index, segment.nodes, [...segment.inputs, ...segment.weights], segment.outputs).bytes)
    const packed = graph!.input.at(-1)!.type!.value
    expect(packed.case === 'tensorType' && packed.value.shape!.dim.map(({ value }) => Number(value.value))).toEqual([96, 32])
  })

  it.each<[string, Tensors, RegExp]>([
    ['missing scales', { 'up.weight_scale': ['F16'] }, /tensor up.weight is of U8, but its scales up.weight_scale are missing/],
    ['scales of another shape', { 'up.weight_scale': ['F16', 96, 3] }, /up.weight_scale has the shape \[96, 3\], expected \[96, 2\]/],
    ['scales of whole numbers', { 'up.weight_scale': ['I8', 96, 2] }, /up.weight_scale is of I8; use scales of F16, BF16, F32/],
    ['half the nibbles', { 'up.weight': ['U8', 96, 16] }, /up.weight has the shape \[96, 16\], expected \[96, 32\]/],
    ['zero points', { 'up.weight_zero_point': ['U8', 96, 1] }, /up.weight has zero points/],
  ])('refuses %s', (_, change, message) => {
    expect(() => build(change)).toThrow(message)
  })

  it.each<[string, ModelProto, RegExp]>([
    ['blocks of another size', changed(1, 'block_size', 16n), /DequantizeLinear has blocks of 16, not of 32/],
    ['blocks along the other axis', changed(1, 'axis', 0n), /not of a weight and its scales along the rows/],
    ['rows of blocks along another axis', changed(0, 'axis', 1n), /not of a weight and its scales along the rows/],
  ])('natively refuses %s, which ONNX Runtime may still run', (_, model, message) => {
    expect(() => lower(model)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED', message: expect.stringMatching(message) }))
    expect(planSteps(indexGraph(model)).length).toBe(3)
  })

  it('natively refuses scales that are not one for each block, and whole numbers without any', () => {
    const other = build()
    const scale = other.graph!.initializer.find(({ name }) => name === 'up.weight_scale')!
    scale.dims = [48n, 4n]
    expect(() => lower(other)).toThrow(/has scales \[48,4\], not one for each 32 inputs/)
    const bare = build()
    const node = bare.graph!.node.find(({ opType, input }) => opType === 'DequantizeLinear' && input[0] === 'up.weight')!
    node.opType = 'Identity'
    expect(() => lower(bare)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
  })

  it('natively refuses scales that are not cast to float32, by which the result would be rounded', () => {
    const model = build()
    const [, node] = model.graph!.node.filter(({ opType }) => opType === 'DequantizeLinear')
    node!.input[1] = 'up.weight_scale'
    expect(() => lower(model)).toThrow(/DequantizeLinear has scales that are no float32/)
  })

  it('knows what the weights of a graph of floats are for', () => {
    const model = build({ 'embed.weight': ['F32', 100, 64], 'up.weight': ['F16', 96, 64] })
    expect(Object.fromEntries([...weightRoles(model)].map(([name, roles]) => [name, [...roles]]))).toEqual({
      'embed.weight': ['table'],
      'up.weight': ['linear'],
    })
  })
})
