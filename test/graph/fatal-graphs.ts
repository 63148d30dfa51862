import { TensorProto_DataType as DataType } from '../../src/graph/generated/onnx_pb.js'
import { floats, integers, modelOf, node, type Parts, type TestAttributes, value } from './onnx.js'

const { FLOAT, INT64, INT32 } = DataType
const MIN = -(2n ** 63n)

/** A graph of one node; constants by name, everything else is an input x (float32, 2 x 8) or n (int64, 2). */
function single(op: string, input: string[], attributes: TestAttributes = {}, rest: Parts = {}, type = FLOAT) {
  return modelOf({
    input: [value('x', FLOAT, [1, 2, 8]), value('n', INT64, [2])],
    node: [node(op, input, ['y'], attributes, `/${op}`)],
    output: [value('y', type)],
    ...rest,
  })
}

const attention = (attributes: TestAttributes) => single('Attention', ['x', 'x', 'x'], { q_num_heads: 2, kv_num_heads: 2, ...attributes })
const sized = (op: string, sizes: (number | bigint)[], dims?: number[], type = FLOAT) =>
  single(op, ['sizes'], {}, { initializer: [integers('sizes', sizes, dims)] }, type)
const grown = (op: string, ...sizes: (number | bigint)[]) => single(op, ['x', 'sizes'], {}, { initializer: [integers('sizes', sizes)] })

/** Graphs that end the whole process when ONNX Runtime 1.30 is given them (all but those marked), and why they are refused. */
export const FATAL: Record<string, [ReturnType<typeof single>, RegExp]> = {
  'attention without heads': [attention({ q_num_heads: 0 }), /has 0 heads/],
  'attention without heads of keys': [attention({ kv_num_heads: 0 }), /has 0 heads/],
  'attention with heads that wrap to 0': [attention({ kv_num_heads: 2n ** 40n }), /has 1099511627776 heads/],
  'attention with negative heads': [attention({ kv_num_heads: MIN }), /has -9223372036854776000 heads/],
  'attention with heads that do not divide': [attention({ kv_num_heads: 3 }), /2 heads, which is not a multiple of its 3/],
  'attention with an unknown output': [attention({ qk_matmul_output_mode: -1 }), /qk_matmul_output_mode -1/],
  'gather with negative batches': [
    single('GatherND', ['x', 'ids'], { batch_dims: -3 }, { initializer: [integers('ids', [0, 0], [2, 1])] }),
    /batch_dims -3/,
  ],
  'one-hot without a depth': [
    single('OneHot', ['n', 'depth', 'values'], {}, { initializer: [integers('depth', [], [0]), floats('values', [0, 1])] }),
    /has no depth/,
  ],
  'the smallest integer by -1': [
    single('Div', ['least', 'by'], {}, { initializer: [integers('least', [MIN, MIN]), integers('by', [-1, 1])] }, INT64),
    /divides integers by -1/,
  ],
  'the smallest 32-bit integer modulo -1': [
    single(
      'Mod',
      ['least', 'by'],
      {},
      { initializer: [integers('least', [-(2 ** 31)], [1], INT32), integers('by', [-1], [1], INT32)] },
      INT32,
    ),
    /divides integers by -1/,
  ],
  'zeros by the billion': [sized('ConstantOfShape', [3_000_000_000]), /asks for 3000000000 elements, at most 268435456 are made/],
  'zeros by a Constant node': [
    modelOf({
      node: [node('Constant', [], ['sizes'], { value_ints: [70_000, 70_000] }), node('ConstantOfShape', ['sizes'], ['y'])],
      output: [value('y', FLOAT)],
    }),
    /asks for 4900000000 elements/,
  ],
  'a window of two billion': [sized('HannWindow', [2 ** 31 - 1], []), /asks for 2147483647 elements/],
  'an expansion to billions': [grown('Expand', 3_000_000_000, 2, 8), /asks for 48000000000 elements/],
  'tiles by the billion': [grown('Tile', 1, 1, 1_000_000_000), /asks for 1000000000 elements/],
  'padding by the billion': [grown('Pad', 0, 0, 0, 0, 0, 3_000_000_000), /asks for 3000000000 elements/],
  'a range of billions': [
    single(
      'Range',
      ['from', 'to', 'by'],
      {},
      { initializer: [integers('from', [0], []), integers('to', [2 ** 33], []), integers('by', [1], [])] },
      INT64,
    ),
    /asks for 8589934592 elements/,
  ],
  'an image of billions': [
    single('Resize', ['x', '', 'scales'], {}, { initializer: [floats('scales', [1, 20_000, 20_000])] }),
    /asks for 400000000 elements/,
  ],
  'random numbers by the billion': [single('RandomNormal', [], { shape: [3_000_000_000] }), /asks for 3000000000 elements/],
}
