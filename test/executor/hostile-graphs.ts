import type { PlainTensor } from '../../src/executor/plain-tensor.js'
import { TensorProto_DataType as DataType, type ModelProto } from '../../src/graph/generated/onnx_pb.js'
import { FATAL } from '../graph/fatal-graphs.js'
import { external, integers, modelOf, node, value } from '../graph/onnx.js'

const { FLOAT, INT64 } = DataType

/** A graph of a stranger, what it is fed, and how it ends in ONNX Runtime: with an error, or with outputs. */
export interface Hostile {
  readonly model: ModelProto
  readonly feeds?: Record<string, PlainTensor>
  /** it is asked for tokens, not run */
  readonly generates?: boolean
  readonly error?: { readonly code: string; readonly text: RegExp }
  readonly outputs?: Record<string, unknown>
}

const plain = (type: 'int64' | 'float32', values: number[], dims = [values.length]): PlainTensor => ({
  type,
  data: type === 'int64' ? BigInt64Array.from(values, BigInt) : Float32Array.from(values),
  dims,
})
const x = value('x', FLOAT, ['n'])
const n = value('n', INT64, ['n'])
const table = external('table', FLOAT, [4, 2])
const feeds = { x: plain('float32', [1, 2]), n: plain('int64', [0, 1]) }
const engine = (text: RegExp) => ({ code: 'ENGINE', text })
const bad = (text: RegExp) => ({ code: 'BAD_INPUT', text })

/** A Gather on a table of four rows in a file. */
function gather(ids: string[], outputs = ['y'], type = FLOAT): ModelProto {
  const initializer = [table, external('others', FLOAT, [2, 4])]
  return modelOf({
    input: [x, n],
    initializer,
    node: [node('Gather', ['table', ...ids], outputs), node('Identity', ['x'], ['z'])],
    output: outputs.length > 0 ? [value('y', type)] : [value('z', FLOAT)],
  })
}

/** logits of some kind from ids. */
function speaker(op: string, output: ReturnType<typeof value>, attributes = {}): ModelProto {
  const rows = [node('Gather', ['table', 'input_ids'], ['rows']), node(op, ['rows'], ['logits'], attributes)]
  return modelOf({
    input: [value('input_ids', INT64, ['batch', 'sequence'])],
    initializer: [table],
    node: rows,
    valueInfo: [value('rows', FLOAT, ['batch', 'sequence', 2])],
    output: [output],
  })
}

const long = 'x'.repeat(5e6)
const unsupported = (text: RegExp) => ({ code: 'UNSUPPORTED', text })

export const HOSTILE: Record<string, Hostile> = {
  ...Object.fromEntries(Object.entries(FATAL).map(([name, [model, text]]) => [name, { model, error: bad(text) }])),
  'a file of the current folder as a constant': {
    model: modelOf({
      node: [node('Constant', [], ['y'], { value: external('t', DataType.UINT8, [16], 'package.json') })],
      output: [value('y', DataType.UINT8)],
    }),
    error: bad(/its data lies in a file/),
  },
  'an operator that does not exist': {
    model: modelOf({ input: [x], node: [node('Frobnicate', ['x'], ['y'])], output: [value('y', FLOAT)] }),
    feeds: { x: feeds.x },
    error: engine(/^Cannot prepare a segment for ONNX Runtime: .*Frobnicate/),
  },
  'an operator with a name of five megabytes': {
    model: modelOf({ input: [x], node: [node(long, ['x'], ['y'])], output: [value('y', FLOAT)] }),
    error: engine(/^Cannot prepare a segment for ONNX Runtime: .*xxx/),
  },
  'shapes that only a run shows not to fit': {
    model: modelOf({
      input: [x, value('z', FLOAT, ['m'])],
      node: [node('Add', ['x', 'z'], ['y'])],
      output: [value('y', FLOAT)],
    }),
    feeds: { x: plain('float32', [1, 2, 3]), z: plain('float32', [1, 2]) },
    error: engine(/^Cannot compute a segment: /),
  },
  'terabytes that only a run asks for': {
    model: modelOf({ input: [n], node: [node('ConstantOfShape', ['n'], ['y'])], output: [value('y', FLOAT)] }),
    feeds: { n: plain('int64', [2 ** 20, 2 ** 22]) },
    error: engine(/^Cannot compute a segment: .*bad_alloc/),
  },
  'division of integers by zero': {
    model: modelOf({
      input: [n],
      initializer: [integers('zero', [0])],
      node: [node('Div', ['n', 'zero'], ['y'])],
      output: [value('y', INT64)],
    }),
    feeds: { n: feeds.n },
    error: engine(/element_wise_ops/),
  },
  'a Gather without ids': { model: gather([]), feeds, error: engine(/Gather.*input size 1/) },
  'a Gather of nothing': { model: gather(['n'], []), feeds, error: engine(/Gather.*output size 0/) },
  'a Gather by ids that are a weight': { model: gather(['others']), feeds, error: engine(/Type Error: Type 'tensor\(float\)'.*Gather/) },
  'a Gather by ids that are fractions': { model: gather(['x']), feeds, error: engine(/Type Error: Type 'tensor\(float\)'.*Gather/) },
  'a Gather by ids that nothing makes': { model: gather(['never']), error: bad(/needs never, which no node before it makes/) },
  'a Gather declared as another type': { model: gather(['n'], ['y'], INT64), feeds, error: engine(/Type Error: /) },
  'a Gather outside the table': {
    model: gather(['n']),
    feeds: { ...feeds, n: plain('int64', [0, 9]) },
    error: bad(/n holds 9, table has 4 rows/),
  },
  'a Gather as it should be': { model: gather(['n']), feeds, outputs: { y: { dims: [2, 2], data: [0, 1, 2, 3] } } },
  'names of the prototype': {
    model: modelOf({
      input: [value('__proto__', FLOAT, ['n']), value('constructor', FLOAT, ['n'])],
      node: [node('Add', ['__proto__', 'constructor'], ['toString']), node('Relu', ['toString'], ['hasOwnProperty'])],
      output: [value('toString', FLOAT), value('hasOwnProperty', FLOAT), value('__proto__', FLOAT)],
    }),
    feeds: Object.fromEntries([
      ['__proto__', feeds.x],
      ['constructor', feeds.x],
    ]),
    outputs: Object.fromEntries(
      ['__proto__', 'toString', 'hasOwnProperty'].map((name) => [name, { dims: [2], data: name === '__proto__' ? [1, 2] : [2, 4] }]),
    ),
  },
  'nodes that nobody needs': {
    model: modelOf({
      input: [x],
      initializer: [table, external('others', FLOAT, [2, 4])],
      node: [node('Relu', ['x'], ['y']), node('MatMul', ['table', 'others'], ['z']), node('Relu', ['z'], ['w'])],
      output: [value('y', FLOAT)],
    }),
    feeds: { x: feeds.x },
    outputs: { y: { dims: [2], data: [1, 2] } },
  },
  'logits without dimensions': {
    model: speaker('ReduceSum', value('logits', FLOAT), { keepdims: 0 }),
    generates: true,
    error: unsupported(/logits are float32 \[\], expected float32 \[1,sequence,vocabulary\]; use run/),
  },
  'logits of integers': {
    model: speaker('Cast', value('logits', INT64), { to: INT64 }),
    generates: true,
    error: unsupported(/logits are int64 \[1,1,2\], expected float32/),
  },
}
