import { lastDimension } from '../../graph/cut.js'
import type { NodeProto } from '../../graph/generated/onnx_pb.js'
import { quoted, shown } from '../../graph/names.js'
import { STANDARD } from '../../graph/validate.js'
import { type Lower, moving, same } from './lowering.js'
import { cannot, kindOf } from './not-native.js'
import type { Kind } from './program.js'
import { addAt, found, softmax, spread, take, topK, zeros } from './routing-operators.js'
import { concat, MOST_PARTS, reshape, shape, slice, split } from './shape-operators.js'
import { float, integer, kindAt, type Tracer, text } from './tracer.js'
import { cast, dequantize, gather, matmul, transpose } from './weight-operators.js'

/** An ONNX operator that the native engine knows: whatever else a node of it has is refused. */
interface Operator {
  readonly lower: Lower
  /** the least and the most inputs */
  readonly inputs: readonly [number, number]
  readonly outputs: readonly [number, number]
  readonly attributes: readonly string[]
}

/** Lowers any node. @throws AssetError 'UNSUPPORTED' naming what the native engine doesn't know */
export function lowerNode(tracer: Tracer, node: NodeProto): void {
  const operator = STANDARD.includes(node.domain) ? OPERATORS.get(node.opType) : undefined
  if (!operator) throw cannot(`${shown(node.opType)} (node ${shown(node.name)}) is not known to it`)
  const [input, output] = [given(node.input), given(node.output)]
  const other = node.attribute.find(({ name }) => !operator.attributes.includes(name))
  if (other) throw cannot(`${node.opType} (node ${shown(node.name)}) has the attribute ${quoted(other.name)}`)
  for (const [what, names, [least, most]] of [
    ['inputs', input, operator.inputs],
    ['outputs', output, operator.outputs],
  ] as const)
    if (names.length < least || names.length > most) throw cannot(`${node.opType} (node ${shown(node.name)}) has ${names.length} ${what}`)
  operator.lower(tracer, { ...node, input, output })
}

/** Names without those left out at the end. */
function given(names: readonly string[]): string[] {
  return names.slice(0, names.findLastIndex((name) => name !== '') + 1)
}

const unary = (f: string) => same({ op: 'unary', f }, [['f32']], 'f32')

function binary(f: string, kinds: readonly Kind[], made?: Kind): Lower {
  return (tracer, node) => {
    const kind = kindAt(tracer, node, 0, kinds)
    kindAt(tracer, node, 1, [kind])
    tracer.node({ op: 'binary', f }, node.input, node.output, made ?? kind)
  }
}

const NUMBERS = ['f32', 'i64'] as const

function multiply(tracer: Tracer, node: NodeProto): void {
  const [a, b] = node.input as [string, string]
  // x * sigmoid(x)
  for (const [x, y] of [
    [a, b],
    [b, a],
  ] as const) {
    const maker = tracer.maker(tracer.value(y).value)
    if (maker?.run.op === 'unary' && maker.run.f === 'sigmoid' && maker.inputs[0] === tracer.value(x).value) {
      tracer.node({ op: 'unary', f: 'silu' }, [x], node.output, 'f32')
      return
    }
  }
  binary('mul', NUMBERS)(tracer, node)
}

function reduce(f: 'sum' | 'max' | 'l2'): Lower {
  return (tracer, node) => {
    kindAt(tracer, node, 0, ['f32'])
    const axes = tracer.numbers(node.input[1]!)
    if (axes.length === 0) throw cannot(`${node.opType} folds all axes`)
    tracer.node({ op: 'reduce', f, axes, keep: integer(node, 'keepdims', 1) !== 0 }, [node.input[0]!], node.output, 'f32')
  }
}

function gelu(tracer: Tracer, node: NodeProto): void {
  const approximate = text(node, 'approximate', 'none')
  if (approximate !== 'none' && approximate !== 'tanh') throw cannot(`a Gelu is approximated by ${quoted(approximate)}`)
  unary(approximate === 'tanh' ? 'geluTanh' : 'gelu')(tracer, node)
}

/** True for a weight that is a vector, as it is or with one number added to all of it. */
function isVector(tracer: Tracer, name: string): boolean {
  const traced = tracer.traced(name)
  if (traced.is !== 'value') return traced.is === 'vector'
  const maker = tracer.maker(traced.value)
  if (maker?.run.op !== 'binary' || maker.run.f !== 'add') return false
  const [weight, number] = maker.inputs.map((value) => tracer.maker(value)?.run)
  return weight?.op === 'vector' && number?.op === 'floats' && number.dims.length === 0
}

function norm(op: 'rmsNorm' | 'layerNorm'): Lower {
  return (tracer, node) => {
    if (integer(node, 'axis', -1) !== -1 || integer(node, 'stash_type', 1) !== 1)
      throw cannot(`${node.opType} is not over the last axis, or not in float32`)
    // The kernel takes the width of a row from them.
    if (!node.input.slice(1).every((name) => isVector(tracer, name))) throw cannot(`${node.opType} is not by a weight`)
    same({ op, epsilon: float(node, 'epsilon', 1e-5) }, [['f32']])(tracer, node)
  }
}

function rotary(tracer: Tracer, node: NodeProto): void {
  const [heads, width] = [integer(node, 'num_heads', 0), integer(node, 'rotary_embedding_dim', 0)]
  if (heads < 1 || integer(node, 'interleaved', 0) !== 0) throw cannot('a RotaryEmbedding is interleaved or not by heads')
  // The kernel turns twice as many elements of a head as there are cosines.
  if (width !== 0 && lastDimension(tracer.index, node.input[1]!) !== width / 2)
    throw cannot(`a RotaryEmbedding turns ${width} elements of a head by tables that are not declared as half of that`)
  same({ op: 'rotary', heads }, [['f32']])(tracer, node)
}

/** How many rows a sequence is declared to have: a size, or the name of one. */
function rowsOf({ index }: Tracer, name: string): unknown {
  const type = index.types.get(name)?.value
  return type?.case === 'tensorType' ? type.value.shape?.dim.at(-2)?.value.value : undefined
}

function attention(tracer: Tracer, node: NodeProto): void {
  const [q, k, v, mask, ...past] = node.input as [string, string, string, ...string[]]
  const [heads, kvHeads, scale] = [integer(node, 'q_num_heads', 0), integer(node, 'kv_num_heads', 0), float(node, 'scale', 0)]
  if (heads < 1 || kvHeads < 1 || scale === 0) throw cannot('an Attention has no heads or no scale')
  // Scores are capped before they are masked, as the standard's erratum of opset 23 and 24 says; 0 is no cap.
  const cap = float(node, 'softcap', 0)
  if (cap < 0) throw cannot(`an Attention has the softcap ${cap}`)
  for (const at of [0, 1, 2]) kindAt(tracer, node, at, ['f32'])
  if (past.length > 0 && rowsOf(tracer, q) !== rowsOf(tracer, k)) throw cannot('an Attention with a cache has keys of another sequence')
  if (mask) kindAt(tracer, node, 3, ['bool', 'f32'])
  const cache = past.length > 0 ? { cache: tracer.holdings.cache(kvHeads, past, node.output.slice(1)) } : {}
  const inputs = [q, k, v, ...(mask ? [mask] : [])]
  tracer.node(
    { op: 'attention', heads, kvHeads, scale, ...(cap > 0 && { softCap: cap }), ...cache },
    inputs,
    node.output.slice(0, 1),
    'f32',
  )
}

function where(tracer: Tracer, node: NodeProto): void {
  kindAt(tracer, node, 0, ['bool'])
  const kind = kindAt(tracer, node, 1)
  kindAt(tracer, node, 2, [kind])
  tracer.node({ op: 'where' }, node.input, node.output, kind)
}

function constant(tracer: Tracer, { attribute, output }: NodeProto): void {
  const tensor = attribute.find(({ name }) => name === 'value')?.t
  if (!tensor) throw cannot('a Constant holds no tensor')
  const [kind, dims] = [kindOf(tensor.dataType), tensor.dims.map(Number)]
  tracer.alias(output[0]!, { is: 'constant', kind, dims, tensor })
}

function known(inputs: number | readonly [number, number], lower: Lower, attributes: readonly string[] = []): Operator {
  return { inputs: typeof inputs === 'number' ? [inputs, inputs] : inputs, outputs: [1, 1], attributes, lower }
}

/** How each ONNX operator that the native engine knows becomes nodes of it. */
const OPERATORS: ReadonlyMap<string, Operator> = new Map([
  ['Add', known(2, binary('add', NUMBERS))],
  ['Sub', known(2, binary('sub', NUMBERS))],
  ['Mul', known(2, multiply)],
  ['Div', known(2, binary('div', ['f32']))],
  ['Max', known(2, binary('max', NUMBERS))],
  ['Less', known(2, binary('less', NUMBERS, 'bool'))],
  ['LessOrEqual', known(2, binary('lessOrEqual', NUMBERS, 'bool'))],
  ['Greater', known(2, binary('greater', NUMBERS, 'bool'))],
  ['Equal', known(2, binary('equal', ['f32', 'i64', 'bool'], 'bool'))],
  ['And', known(2, binary('and', ['bool']))],
  ['Or', known(2, binary('or', ['bool']))],
  ['Cos', known(1, unary('cos'))],
  ['Sin', known(1, unary('sin'))],
  ['Sigmoid', known(1, unary('sigmoid'))],
  ['Tanh', known(1, unary('tanh'))],
  ['Relu', known(1, unary('relu'))],
  ['Sqrt', known(1, unary('sqrt'))],
  ['Gelu', known(1, gelu, ['approximate'])],
  ['MatMul', known(2, matmul)],
  ['Constant', known(0, constant, ['value'])],
  ['Gather', known(2, gather, ['axis'])],
  ['Cast', known(1, cast, ['to', 'saturate'])],
  ['Transpose', known(1, transpose, ['perm'])],
  ['DequantizeLinear', known(2, dequantize, ['axis', 'block_size', 'output_dtype'])],
  ['Identity', known(1, (tracer, { input, output }) => tracer.alias(output[0]!, tracer.traced(input[0]!)))],
  ['RMSNormalization', known(2, norm('rmsNorm'), ['axis', 'epsilon', 'stash_type'])],
  ['LayerNormalization', known(3, norm('layerNorm'), ['axis', 'epsilon', 'stash_type'])],
  ['RotaryEmbedding', known(3, rotary, ['num_heads', 'interleaved', 'rotary_embedding_dim'])],
  ['Attention', { ...known([3, 6], attention, ['q_num_heads', 'kv_num_heads', 'scale', 'softcap']), outputs: [1, 3] }],
  ['Shape', known(1, shape, ['start', 'end'])],
  ['Slice', known([3, 5], slice)],
  ['Split', { ...known([1, 2], split, ['axis', 'num_outputs']), outputs: [1, MOST_PARTS] }],
  ['ReduceSum', known(2, reduce('sum'), ['keepdims'])],
  ['ReduceMax', known(2, reduce('max'), ['keepdims'])],
  ['ReduceL2', known(2, reduce('l2'), ['keepdims'])],
  ['Where', known(3, where)],
  ['Softmax', known(1, softmax, ['axis'])],
  ['TopK', { ...known(2, topK, ['axis', 'largest', 'sorted']), outputs: [2, 2] }],
  ['ScatterElements', known(3, spread, ['axis', 'reduction'])],
  ['ConstantOfShape', known(1, zeros, ['value'])],
  ['NonZero', known(1, found)],
  ['GatherND', known(2, take, ['batch_dims'])],
  ['ScatterND', known(3, addAt, ['reduction'])],
  ['Range', known(3, same({ op: 'range' }, [['i64']]))],
  ['Expand', known(2, same({ op: 'expand' }, [['f32', 'i64', 'bool'], ['i64']]))],
  ['Concat', known([1, 2 ** 16], concat, ['axis'])],
  ['Reshape', known(2, reshape, ['allowzero'])],
  [
    'Unsqueeze',
    known(
      2,
      moving((tracer, { input }) => ({ op: 'unsqueeze', axes: tracer.numbers(input[1]!) })),
    ),
  ],
  [
    'Squeeze',
    known(
      [1, 2],
      moving((tracer, { input }) => ({ op: 'squeeze', ...(input[1] && { axes: tracer.numbers(input[1]) }) })),
    ),
  ],
])
