import { create, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AssetError } from '../../src/core/errors.js'
import { LIMITS } from '../../src/core/limits.js'
import { GraphBuilder } from '../../src/graph/build.js'
import { dataTypeOf, dtypeOf } from '../../src/graph/elements.js'
import {
  TensorProto_DataType as DataType,
  GraphProtoSchema,
  type ModelProto,
  ModelProtoSchema,
  TensorProtoSchema,
} from '../../src/graph/generated/onnx_pb.js'
import { parseGraph, serializeGraph, tensorsOf } from '../../src/graph/parse.js'

/** An error of parseGraph, which may be nothing but an AssetError 'BAD_INPUT' with our wording. */
function refusal(bytes: Uint8Array): string | undefined {
  try {
    parseGraph(bytes)
    return undefined
  } catch (error) {
    expect(error).toBeInstanceOf(AssetError)
    expect((error as AssetError).code).toBe('BAD_INPUT')
    expect((error as AssetError).message).toMatch(/^Cannot read the ONNX graph: ./)
    return (error as AssetError).message
  }
}

function small(): ModelProto {
  const graph = new GraphBuilder(
    'small',
    new Map([['w', { dtype: 'F32', shape: [3, 2], location: 'a/w.safetensors', offset: 4096, length: 24 }]]),
  )
  const root = graph.module('')
  const x = graph.input('x', 'F32', ['batch', 3])
  graph.output(
    root.op('Add', [root.op('MatMul', [x, root.weight('w', [3, 2])], {}, { dims: ['batch', 2] }), root.scalar(1)], {}, { name: 'y' }),
  )
  return graph.finish()
}

/** A field of a message: number, length, bytes. */
function field(number: number, body: Uint8Array): Uint8Array {
  const length = []
  let rest = body.length
  for (; rest >= 128; rest = Math.floor(rest / 128)) length.push((rest % 128) + 128)
  return Buffer.concat([Uint8Array.of(number * 8 + 2, ...length, rest), body])
}

const withTensor = (tensor: Parameters<typeof create<typeof TensorProtoSchema>>[1]) =>
  toBinary(ModelProtoSchema, create(ModelProtoSchema, { graph: { initializer: [create(TensorProtoSchema, tensor)] } }))

describe('parseGraph', () => {
  it('reads what serializeGraph wrote', () => {
    const bytes = serializeGraph(small())
    expect(Buffer.compare(serializeGraph(parseGraph(bytes)), bytes)).toBe(0)
  })

  it('refuses a graph cut off at any byte (36)', () => {
    const bytes = serializeGraph(small())
    // The graph is the last field of a model but one: once it is whole, a shorter file is a model too.
    const whole = toBinary(ModelProtoSchema, create(ModelProtoSchema, { ...small(), opsetImport: [] })).length
    for (let end = 0; end < whole; end++) expect(refusal(bytes.slice(0, end)), `${end} bytes`).toBeDefined()
  })

  it('throws nothing but AssetError for bytes of any kind', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void refusal(bytes)),
      { numRuns: 3000 },
    )
    const bytes = serializeGraph(small())
    const change = fc.tuple(fc.nat(bytes.length - 1), fc.nat(255))
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 5 }), (changes) => {
        const broken = bytes.slice()
        for (const [at, byte] of changes) broken[at] = byte
        refusal(broken)
      }),
      { numRuns: 5000 },
    )
  })

  it('refuses nesting beyond the limit, and reads what is within it (36)', () => {
    // A graph in an attribute of a node of a graph: three messages deeper each time, below model and graph.
    const nested = (times: number) => {
      let graph: Uint8Array = new Uint8Array(0)
      for (let n = 0; n < times; n++) graph = field(1, field(5, field(6, graph)))
      return field(7, graph)
    }
    expect(refusal(nested(32))).toBeUndefined()
    expect(refusal(nested(33))).toContain(`nested deeper than ${LIMITS.graphDepth}`)
    expect(refusal(nested(2000))).toContain('nested deeper')
    // Groups are of no use in ONNX, but unknown ones must be skipped, and they nest too.
    expect(refusal(Buffer.alloc(100_000, (15 << 3) | 3))).toBeDefined()
  })

  it('refuses a million nodes in two megabytes before it makes any (36)', () => {
    const empty = Buffer.alloc(2 * (LIMITS.graphNodes + 1))
    for (let n = 0; n < empty.length; n += 2) empty[n] = 0x0a
    expect(refusal(field(7, empty))).toContain(`more than ${LIMITS.graphNodes} nodes`)
  })

  it('refuses integers by the many millions in one packed field', () => {
    const dims = field(5, field(1, Buffer.alloc(17_000_000)))
    expect(refusal(field(7, dims))).toContain('fields')
  })

  it('refuses a field of the wrong wire type, and one that runs past its message', () => {
    expect(refusal(Uint8Array.of(7 * 8, 1))).toContain('graph has wire type 0')
    expect(refusal(Uint8Array.of(7 * 8 + 2, 2, 2 * 8 + 2, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0))).toContain('past the end of its message')
    expect(refusal(Uint8Array.of(7 * 8 + 2, 0xff, 0xff, 0xff, 0xff, 0x0f))).toContain('cut off')
  })

  it('refuses a model without a graph, or with two initializers of one name', () => {
    expect(refusal(new Uint8Array(0))).toContain('it has no graph in it')
    const twice = { name: 'w', dataType: DataType.FLOAT, dims: [0n] }
    expect(refusal(toBinary(ModelProtoSchema, create(ModelProtoSchema, { graph: { initializer: [twice, twice] } })))).toContain(
      'two initializers are called "w"',
    )
  })

  it('refuses a tensor whose data is not what its shape needs (36)', () => {
    const float = { name: 'w', dataType: DataType.FLOAT }
    expect(refusal(withTensor({ ...float, dims: [2n], rawData: new Uint8Array(8) }))).toBeUndefined()
    expect(refusal(withTensor({ ...float, dims: [2n], floatData: [1, 2] }))).toBeUndefined()
    expect(refusal(withTensor({ name: 'w', dataType: DataType.INT4, dims: [3n], rawData: new Uint8Array(2) }))).toBeUndefined()
    expect(refusal(withTensor({ ...float, dims: [2n], rawData: new Uint8Array(7) }))).toContain('"w": it holds 7')
    expect(refusal(withTensor({ ...float, dims: [3n], floatData: [1, 2] }))).toContain('needs 3')
    expect(refusal(withTensor({ ...float, dims: [2n ** 40n, 2n ** 40n] }))).toContain('is not a size')
    expect(refusal(withTensor({ ...float, dims: [-1n] }))).toContain('[-1] is not a size')
    expect(refusal(withTensor({ ...float, dims: Array.from({ length: 40 }, () => 1n), rawData: new Uint8Array(4) }))).toContain(
      '40 dimensions',
    )
    expect(refusal(withTensor({ name: 'w', dataType: 99, dims: [1n], rawData: new Uint8Array(1) }))).toContain('element type 99')
  })

  it('finds tensors in attributes and subgraphs', () => {
    const tensor = { name: 'deep', dataType: DataType.FLOAT, dims: [1n], rawData: new Uint8Array(3) }
    const inner = create(GraphProtoSchema, { node: [{ opType: 'Constant', attribute: [{ name: 'value', t: tensor }] }] })
    const model = create(ModelProtoSchema, { graph: { node: [{ opType: 'If', attribute: [{ name: 'then_branch', g: inner }] }] } })
    expect([...tensorsOf(model)].map(({ name }) => name)).toEqual(['deep'])
    expect(refusal(toBinary(ModelProtoSchema, model))).toContain('"deep"')
  })
})

describe('element types', () => {
  it('are the same in safetensors and ONNX, where both have them', () => {
    expect(dataTypeOf('BF16')).toBe(DataType.BFLOAT16)
    expect(dataTypeOf('F8_E4M3')).toBe(DataType.FLOAT8E4M3FN)
    for (const dtype of ['BOOL', 'U8', 'F16', 'BF16', 'F32', 'I64', 'F64'] as const) expect(dtypeOf(dataTypeOf(dtype))).toBe(dtype)
    expect(dtypeOf(DataType.INT4)).toBeUndefined()
  })
})
