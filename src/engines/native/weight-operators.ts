// Operators that weights pass through on their way to a product, or to rows that are picked: most become no node of their own.
import { elementType } from '../../graph/cut.js'
import { TensorProto_DataType as DataType, type NodeProto } from '../../graph/generated/onnx_pb.js'
import { BLOCK_SIZE } from '../../graph/low-bit.js'
import { cannot, kindOf } from './not-native.js'
import { integer, kindAt, type Tracer } from './tracer.js'

export function matmul(tracer: Tracer, node: NodeProto): void {
  kindAt(tracer, node, 0, ['f32'])
  const weight = tracer.traced(node.input[1]!)
  if (weight.is !== 'matrix') throw cannot('a MatMul is of two activations')
  tracer.node({ op: weight.turned ? 'linear' : 'conv1d', weight: tracer.matrix(weight.name) }, [node.input[0]!], node.output, 'f32')
}

export function gather(tracer: Tracer, node: NodeProto): void {
  const [data, ids] = node.input as [string, string]
  const table = tracer.traced(data)
  const axis = integer(node, 'axis', 0)
  if ((table.is === 'blocks' || (table.is === 'matrix' && !table.turned)) && axis === 0) {
    kindAt(tracer, node, 1, ['i64'])
    tracer.alias(node.output[0]!, { is: 'picked', table: table.name, ids, bare: table.is === 'blocks' })
    return
  }
  const at = tracer.traced(ids)
  if (at.is !== 'constant' || at.dims.length > 0) throw cannot('a Gather is of an activation by ids that are no constant')
  tracer.node({ op: 'pick', axis, index: tracer.numbers(ids)[0]! }, [data], node.output, kindAt(tracer, node, 0))
}

export function cast(tracer: Tracer, node: NodeProto): void {
  const [input, output] = [node.input[0]!, node.output[0]!]
  const to = kindOf(integer(node, 'to', 0))
  const traced = tracer.traced(input)
  const weight = traced.is === 'matrix' || traced.is === 'vector'
  if (weight && to !== 'f32') throw cannot(`a weight is cast to ${to}`)
  // Weights are computed with as float32, however they are stored.
  const stored = weight || (traced.is === 'picked' && to === 'f32' && !traced.bare)
  if (stored || tracer.value(input).kind === to) tracer.alias(output, traced)
  else tracer.node({ op: 'cast', to }, [input], [output], to)
}

/** Weights of whole numbers, or rows of them, with the scales of their blocks. */
export function dequantize(tracer: Tracer, node: NodeProto): void {
  const [data, scale] = node.input as [string, string]
  const [size, axis, to] = [integer(node, 'block_size', 0), integer(node, 'axis', 1), integer(node, 'output_dtype', 0)]
  if (size !== BLOCK_SIZE) throw cannot(`a DequantizeLinear has blocks of ${size}, not of ${BLOCK_SIZE}`)
  if (to !== 0) throw cannot(`a DequantizeLinear has the output_dtype ${to}`)
  // Its result is of the type of the scales, and would be rounded to one of 16 bits.
  if (elementType(tracer.index, scale) !== DataType.FLOAT) throw cannot('a DequantizeLinear has scales that are no float32')
  const [weight, by] = [tracer.traced(data), tracer.traced(scale)]
  if (weight.is === 'blocks' && by.is === 'matrix' && !by.turned && (axis === 1 || axis === -1)) {
    tracer.holdings.join(weight.name, by.name)
    tracer.alias(node.output[0]!, { is: 'matrix', name: weight.name, turned: false })
  } else if (weight.is === 'picked' && by.is === 'picked' && weight.bare && !by.bare && weight.ids === by.ids && axis === -1) {
    tracer.holdings.join(weight.table, by.table)
    tracer.alias(node.output[0]!, { ...weight, bare: false })
  } else throw cannot('a DequantizeLinear is not of a weight and its scales along the rows')
}

export function transpose(tracer: Tracer, node: NodeProto): void {
  const traced = tracer.traced(node.input[0]!)
  const perm = node.attribute.find(({ name }) => name === 'perm')?.ints.map(Number) ?? [1, 0]
  if (traced.is === 'found' && perm.join() === '1,0') {
    tracer.alias(node.output[0]!, { is: 'value', value: traced.value, kind: 'i64' })
    return
  }
  if (traced.is !== 'matrix' || perm.join() !== '1,0') throw cannot('a Transpose is of an activation')
  tracer.alias(node.output[0]!, { ...traced, turned: !traced.turned })
}
