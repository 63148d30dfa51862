// Operators that give elements another place or shape.
import { lastDimension } from '../../graph/cut.js'
import type { NodeProto } from '../../graph/generated/onnx_pb.js'
import { moving, same } from './lowering.js'
import { cannot } from './not-native.js'
import { integer, kindAt, type Tracer } from './tracer.js'

/** The most outputs of a Split, and the most parts that it is made of. */
export const MOST_PARTS = 1024

export function slice(tracer: Tracer, node: NodeProto): void {
  const [data, starts, ends, axes, steps] = node.input
  const plain = (!axes || tracer.numbers(axes).join() === '0') && (!steps || tracer.numbers(steps).join() === '1')
  if (!plain) throw cannot('a Slice is not of the first axis, or by steps')
  for (const at of [1, 2]) kindAt(tracer, node, at, ['i64'])
  tracer.node({ op: 'slice' }, [data!, starts!, ends!], node.output, kindAt(tracer, node, 0))
}

export function split(tracer: Tracer, node: NodeProto): void {
  const { input, output } = node
  if (integer(node, 'axis', 0) !== -1 || output.includes(''))
    throw cannot('a Split is not of the last axis, or into parts that nobody uses')
  const parts = output.length
  const sizes = input[1] ? tracer.numbers(input[1]) : output.map(() => 1)
  if (integer(node, 'num_outputs', parts) !== parts || sizes.length !== parts) throw cannot('a Split has not as many sizes as outputs')
  const kind = kindAt(tracer, node, 0)
  // Into parts that all sizes are multiples of, which are then joined.
  const step = sizes.reduce(commonDivisor)
  const counts = sizes.map((size) => size / step)
  const total = counts.reduce((sum, count) => sum + count, 0)
  if (!(step > 0) || counts.some((count) => count < 1) || total > MOST_PARTS) throw cannot(`a Split has the sizes ${sizes.slice(0, 8)}`)
  if (input[1] && lastDimension(tracer.index, input[0]!) !== total * step)
    throw cannot('a Split has sizes that are not declared to be those of its input')
  const made = tracer.made({ op: 'split', parts: total }, [tracer.value(input[0]!).value], total)
  let end = 0
  for (const [at, name] of output.entries()) {
    const own = made.slice(end, end + counts[at]!)
    end += counts[at]!
    const value = own.length === 1 ? own[0]! : tracer.made({ op: 'concat', axis: -1 }, own, 1)[0]!
    tracer.alias(name, { is: 'value', value, kind })
  }
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b)
}

export function shape(tracer: Tracer, node: NodeProto): void {
  const end = node.attribute.some(({ name }) => name === 'end') ? { end: integer(node, 'end', 0) } : {}
  same({ op: 'shape', start: integer(node, 'start', 0), ...end }, [['f32', 'i64', 'bool']], 'i64')(tracer, node)
}

export function concat(tracer: Tracer, node: NodeProto): void {
  same({ op: 'concat', axis: integer(node, 'axis', 0) }, [[kindAt(tracer, node, 0)]])(tracer, node)
}

export function reshape(tracer: Tracer, node: NodeProto): void {
  if (integer(node, 'allowzero', 0) !== 0) throw cannot('a Reshape allows dimensions of 0')
  moving(() => ({ op: 'reshape', dims: tracer.numbers(node.input[1]!) }))(tracer, node)
}
