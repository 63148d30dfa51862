// Operators that send rows to experts and add up what these make of them, in the forms in which mixtures have them.
import type { NodeProto } from '../../graph/generated/onnx_pb.js'
import { quoted } from '../../graph/names.js'
import { same } from './lowering.js'
import { cannot } from './not-native.js'
import { integer, kindAt, type Tracer, text } from './tracer.js'

function lastAxis(node: NodeProto, fallback: number): void {
  if (integer(node, 'axis', fallback) !== -1) throw cannot(`a ${node.opType} is not over the last axis`)
}

export function softmax(tracer: Tracer, node: NodeProto): void {
  lastAxis(node, -1)
  same({ op: 'softmax' }, [['f32']])(tracer, node)
}

export function topK(tracer: Tracer, node: NodeProto): void {
  lastAxis(node, -1)
  if (integer(node, 'largest', 1) !== 1) throw cannot('a TopK is of the smallest')
  kindAt(tracer, node, 0, ['f32'])
  const [count] = tracer.numbers(node.input[1]!)
  if (!(count! >= 1)) throw cannot(`a TopK is of ${count}`)
  const [best, which] = node.output as [string, string]
  const made = tracer.made({ op: 'topK', count: count! }, [tracer.value(node.input[0]!).value], 2)
  tracer.alias(best, { is: 'value', value: made[0]!, kind: 'f32' })
  tracer.alias(which, { is: 'value', value: made[1]!, kind: 'i64' })
}

export function spread(tracer: Tracer, node: NodeProto): void {
  lastAxis(node, 0)
  plain(node, 'none')
  same({ op: 'spread' }, [['f32'], ['i64'], ['f32']])(tracer, node)
}

/** Without a value, which is then a float32 zero. */
export function zeros(tracer: Tracer, node: NodeProto): void {
  if (node.attribute.length > 0) throw cannot('a ConstantOfShape says of what')
  same({ op: 'zeros' }, [['i64']], 'f32')(tracer, node)
}

export function found(tracer: Tracer, node: NodeProto): void {
  kindAt(tracer, node, 0, ['f32'])
  const [value] = tracer.made({ op: 'places' }, [tracer.value(node.input[0]!).value], 1)
  tracer.alias(node.output[0]!, { is: 'found', value: value! })
}

export function take(tracer: Tracer, node: NodeProto): void {
  if (integer(node, 'batch_dims', 0) !== 0) throw cannot('a GatherND is by batches')
  places(tracer, node)
  same({ op: 'take' }, [['f32'], ['i64']])(tracer, node)
}

export function addAt(tracer: Tracer, node: NodeProto): void {
  plain(node, 'add')
  places(tracer, node)
  same({ op: 'addAt' }, [['f32'], ['i64'], ['f32']])(tracer, node)
}

function plain(node: NodeProto, wanted: string): void {
  const reduction = text(node, 'reduction', 'none')
  if (reduction !== wanted) throw cannot(`a ${node.opType} has the reduction ${quoted(reduction)}`)
}

/** Places of two dimensions, as a NonZero makes them; others could be of any. */
function places(tracer: Tracer, { input, opType }: NodeProto): void {
  if (tracer.maker(tracer.value(input[1]!).value)?.run.op !== 'places') throw cannot(`a ${opType} is at places that no NonZero found`)
}
