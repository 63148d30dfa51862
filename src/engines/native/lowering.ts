import type { NodeProto } from '../../graph/generated/onnx_pb.js'
import type { Kind, NativeOp } from './program.js'
import { kindAt, type Tracer } from './tracer.js'

/** Lowers one node of a graph. @throws AssetError 'UNSUPPORTED' for a form of it that the native engine doesn't know */
export type Lower = (tracer: Tracer, node: NodeProto) => void

/** Every input of these kinds becomes one of the native node, whose outputs are of `made`, or else of the kind of the first. */
export function same(run: NativeOp, kinds: readonly (readonly Kind[])[], made?: Kind): Lower {
  return (tracer, node) => {
    const found = node.input.map((_, at) => kindAt(tracer, node, at, kinds[Math.min(at, kinds.length - 1)]))
    tracer.node(run, node.input, node.output, made ?? found[0]!)
  }
}

/** Nodes that give the elements of their first input another place or shape. */
export function moving(run: (tracer: Tracer, node: NodeProto) => NativeOp): Lower {
  return (tracer, node) => tracer.node(run(tracer, node), [node.input[0]!], node.output, kindAt(tracer, node, 0))
}
