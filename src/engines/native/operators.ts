import type { NodeProto } from '../../graph/generated/onnx_pb.js'
import { BLOCK_SIZE } from '../../graph/low-bit.js'
import type { Kind } from './program.js'
import { cannot, float, integer, kindOf, type Tracer, text } from './tracer.js'

/** Lowers one node of a graph. @throws AssetError 'UNSUPPORTED' for a form of it that the native engine doesn't know */
type Lower = (tracer: Tracer, node: NodeProto) => void

const COMPARISONS: readonly string[] = ['less', 'lessOrEqual', 'greater', 'equal', 'and', 'or']

function unary(f: string): Lower {
  return (tracer, { input, output }) => tracer.node({ op: 'unary', f }, [input[0]!], output, 'f32')
}

function binary(f: string): Lower {
  return (tracer, { input, output }) => {
    if (input.length !== 2) throw cannot(`a node that takes two values has ${input.length}`)
    const kind = COMPARISONS.includes(f) ? 'bool' : tracer.value(input[0]!).kind
    tracer.node({ op: 'binary', f }, input, output, kind)
  }
}

function reduce(f: 'sum' | 'max' | 'l2'): Lower {
  return (tracer, node) => {
    if (!node.input[1]) throw cannot(`${node.opType} folds all axes`)
    const axes = tracer.numbers(node.input[1])
    tracer.node({ op: 'reduce', f, axes, keep: integer(node, 'keepdims', 1) !== 0 }, [node.input[0]!], node.output, 'f32')
  }
}

/** Nodes whose output has the kind of its first input. */
function moving(
  run: (tracer: Tracer, node: NodeProto) => Parameters<Tracer['node']>[0],
  inputs: (node: NodeProto) => readonly string[],
): Lower {
  return (tracer, node) => tracer.node(run(tracer, node), inputs(node), node.output, tracer.value(node.input[0]!).kind)
}

const first = ({ input }: NodeProto) => [input[0]!]

function multiply(tracer: Tracer, { input, output }: NodeProto): void {
  const [a, b] = input.map((name) => tracer.value(name)) as [{ value: number; kind: Kind }, { value: number; kind: Kind }]
  // x * sigmoid(x)
  for (const [x, y] of [
    [a, b],
    [b, a],
  ] as const) {
    const maker = tracer.maker(y.value)
    if (maker?.run.op === 'unary' && maker.run.f === 'sigmoid' && maker.inputs[0] === x.value) {
      const name = input[x === a ? 0 : 1]!
      tracer.node({ op: 'unary', f: 'silu' }, [name], output, 'f32')
      return
    }
  }
  tracer.node({ op: 'binary', f: 'mul' }, input, output, a.kind)
}

function matmul(tracer: Tracer, { input, output }: NodeProto): void {
  const weight = tracer.traced(input[1]!)
  if (weight.is !== 'matrix') throw cannot('a MatMul is of two activations')
  tracer.node({ op: weight.turned ? 'linear' : 'conv1d', weight: tracer.matrix(weight.name) }, [input[0]!], output, 'f32')
}

function gather(tracer: Tracer, node: NodeProto): void {
  const [data, ids] = node.input as [string, string]
  const table = tracer.traced(data)
  const axis = integer(node, 'axis', 0)
  if ((table.is === 'blocks' || (table.is === 'matrix' && !table.turned)) && axis === 0) {
    tracer.alias(node.output[0]!, { is: 'picked', table: table.name, ids, bare: table.is === 'blocks' })
    return
  }
  const at = tracer.traced(ids)
  if (at.is !== 'constant' || at.dims.length > 0) throw cannot('a Gather is of an activation by ids that are no constant')
  tracer.node({ op: 'pick', axis, index: at.data[0]! }, [data], node.output, tracer.value(data).kind)
}

function cast(tracer: Tracer, node: NodeProto): void {
  const [input, output] = [node.input[0]!, node.output[0]!]
  const to = kindOf(integer(node, 'to', 0))
  const traced = tracer.traced(input)
  // Weights are computed with as float32, however they are stored.
  if (traced.is === 'matrix' || traced.is === 'vector' || traced.is === 'picked') {
    if (to !== 'f32') throw cannot(`a weight is cast to ${to}`)
    tracer.alias(output, traced)
    return
  }
  const { kind } = tracer.value(input)
  if (kind === to) tracer.alias(output, tracer.traced(input))
  else tracer.node({ op: 'cast', to }, [input], [output], to)
}

/** Weights of whole numbers, or rows of them, with the scales of their blocks. */
function dequantize(tracer: Tracer, node: NodeProto): void {
  const [data, scale, zero] = node.input as [string, string, string?]
  const [size, axis] = [integer(node, 'block_size', 0), integer(node, 'axis', 1)]
  if (zero || size !== BLOCK_SIZE)
    throw cannot(`a DequantizeLinear has ${zero ? 'zero points' : `blocks of ${size}, not of ${BLOCK_SIZE}`}`)
  const [weight, by] = [tracer.traced(data), tracer.traced(scale)]
  if (weight.is === 'blocks' && by.is === 'matrix' && !by.turned && (axis === 1 || axis === -1)) {
    tracer.join(weight.name, by.name)
    tracer.alias(node.output[0]!, { is: 'matrix', name: weight.name, turned: false })
  } else if (weight.is === 'picked' && by.is === 'picked' && weight.bare && !by.bare && weight.ids === by.ids && axis === -1) {
    tracer.join(weight.table, by.table)
    tracer.alias(node.output[0]!, { ...weight, bare: false })
  } else throw cannot('a DequantizeLinear is not of a weight and its scales along the rows')
}

function transpose(tracer: Tracer, node: NodeProto): void {
  const traced = tracer.traced(node.input[0]!)
  const perm = node.attribute.find(({ name }) => name === 'perm')?.ints.map(Number) ?? [1, 0]
  if (traced.is !== 'matrix' || perm.join() !== '1,0') throw cannot('a Transpose is of an activation')
  tracer.alias(node.output[0]!, { ...traced, turned: !traced.turned })
}

function rmsNorm(tracer: Tracer, node: NodeProto): void {
  checkLastAxis(node)
  tracer.node({ op: 'rmsNorm', epsilon: float(node, 'epsilon', 1e-5) }, node.input.slice(0, 2), node.output, 'f32')
}

function layerNorm(tracer: Tracer, node: NodeProto): void {
  checkLastAxis(node)
  if (node.input.length !== 3 || node.output.length !== 1) throw cannot('a LayerNormalization has no bias, or gives its mean')
  tracer.node({ op: 'layerNorm', epsilon: float(node, 'epsilon', 1e-5) }, node.input, node.output, 'f32')
}

function checkLastAxis(node: NodeProto): void {
  if (integer(node, 'axis', -1) !== -1) throw cannot(`${node.opType} is not over the last axis`)
}

function rotary(tracer: Tracer, node: NodeProto): void {
  const heads = integer(node, 'num_heads', 0)
  if (heads < 1 || integer(node, 'interleaved', 0) !== 0 || integer(node, 'rotary_embedding_dim', 0) !== 0 || node.input.length !== 3)
    throw cannot('a RotaryEmbedding is interleaved, partial, by position ids or not by heads')
  tracer.node({ op: 'rotary', heads }, node.input, node.output, 'f32')
}

function attention(tracer: Tracer, node: NodeProto): void {
  const { index } = tracer
  const [q, k, v, mask, ...past] = node.input
  const [heads, kvHeads] = [integer(node, 'q_num_heads', 0), integer(node, 'kv_num_heads', 0)]
  const known = ['q_num_heads', 'kv_num_heads', 'scale']
  const other = node.attribute.find(({ name }) => !known.includes(name))
  const scale = node.attribute.find(({ name }) => name === 'scale')?.f
  if (other || heads < 1 || kvHeads < 1 || scale === undefined) throw cannot(`an Attention has ${other?.name ?? 'no heads or no scale'}`)
  if (mask && tracer.value(mask).kind !== 'bool') throw cannot('an Attention has a mask that is added')
  const inputs = [q!, k!, v!, ...(mask ? [mask] : [])]
  if (past.length === 0) {
    tracer.node({ op: 'attention', heads, kvHeads, scale }, inputs, node.output.slice(0, 1), 'f32')
    return
  }
  const present = node.output.slice(1, 3)
  const dims = index.types.get(past[0]!)?.value
  const headDim = dims?.case === 'tensorType' ? dims.value.shape?.dim[3]?.value : undefined
  const isInput = (name: string) => index.inputs.some((input) => input.name === name)
  const isOutput = (name: string) => index.outputs.some((output) => output.name === name)
  if (past.length !== 2 || present.length !== 2 || !past.every(isInput) || !present.every(isOutput) || headDim?.case !== 'dimValue')
    throw cannot('the cache of an Attention is not an input and an output of the graph')
  const cache = tracer.caches.push({
    kvHeads,
    headDim: Number(headDim.value),
    past: past as [string, string],
    present: present as [string, string],
  })
  tracer.node({ op: 'attention', heads, kvHeads, scale, cache: cache - 1 }, inputs, node.output.slice(0, 1), 'f32')
}

function slice(tracer: Tracer, node: NodeProto): void {
  const [data, starts, ends, axes, steps] = node.input
  const plain = (!axes || tracer.numbers(axes).join() === '0') && (!steps || tracer.numbers(steps).join() === '1')
  if (!plain) throw cannot('a Slice is not of the first axis, or by steps')
  tracer.node({ op: 'slice' }, [data!, starts!, ends!], node.output, tracer.value(data!).kind)
}

function split(tracer: Tracer, node: NodeProto): void {
  if (integer(node, 'axis', 0) !== -1 || node.input.length !== 1) throw cannot('a Split is not into equal parts of the last axis')
  tracer.node({ op: 'split', parts: node.output.length }, first(node), node.output, tracer.value(node.input[0]!).kind)
}

function shape(tracer: Tracer, node: NodeProto): void {
  const end = node.attribute.find(({ name }) => name === 'end')
  const run = { op: 'shape' as const, start: integer(node, 'start', 0), ...(end && { end: Number(end.i) }) }
  tracer.node(run, first(node), node.output, 'i64')
}

/** How each ONNX operator that the native engine knows becomes nodes of it. */
export const OPERATORS: ReadonlyMap<string, Lower> = new Map<string, Lower>([
  ['Add', binary('add')],
  ['Sub', binary('sub')],
  ['Mul', multiply],
  ['Div', binary('div')],
  ['Max', binary('max')],
  ['Less', binary('less')],
  ['LessOrEqual', binary('lessOrEqual')],
  ['Greater', binary('greater')],
  ['Equal', binary('equal')],
  ['And', binary('and')],
  ['Or', binary('or')],
  ['Cos', unary('cos')],
  ['Sin', unary('sin')],
  ['Sigmoid', unary('sigmoid')],
  ['Tanh', unary('tanh')],
  ['Relu', unary('relu')],
  ['Sqrt', unary('sqrt')],
  ['Gelu', (tracer, node) => unary(text(node, 'approximate', 'none') === 'tanh' ? 'geluTanh' : 'gelu')(tracer, node)],
  ['MatMul', matmul],
  ['Gather', gather],
  ['Cast', cast],
  ['Transpose', transpose],
  ['DequantizeLinear', dequantize],
  ['Identity', (tracer, { input, output }) => tracer.alias(output[0]!, tracer.traced(input[0]!))],
  ['RMSNormalization', rmsNorm],
  ['LayerNormalization', layerNorm],
  ['RotaryEmbedding', rotary],
  ['Attention', attention],
  ['Shape', shape],
  ['Slice', slice],
  ['Split', split],
  ['ReduceSum', reduce('sum')],
  ['ReduceMax', reduce('max')],
  ['ReduceL2', reduce('l2')],
  ['Where', (tracer, { input, output }) => tracer.node({ op: 'where' }, input, output, tracer.value(input[1]!).kind)],
  ['Range', (tracer, { input, output }) => tracer.node({ op: 'range' }, input, output, 'i64')],
  [
    'Expand',
    moving(
      () => ({ op: 'expand' }),
      ({ input }) => input,
    ),
  ],
  [
    'Concat',
    moving(
      (_, node) => ({ op: 'concat', axis: integer(node, 'axis', 0) }),
      ({ input }) => input,
    ),
  ],
  ['Reshape', moving((tracer, { input }) => ({ op: 'reshape', dims: tracer.numbers(input[1]!) }), first)],
  ['Unsqueeze', moving((tracer, { input }) => ({ op: 'unsqueeze', axes: tracer.numbers(input[1]!) }), first)],
  ['Squeeze', moving((tracer, { input }) => ({ op: 'squeeze', ...(input[1] && { axes: tracer.numbers(input[1]) }) }), first)],
])
