import { create } from '@bufbuild/protobuf'
import { type GraphProto, type NodeProto, NodeProtoSchema } from '../../graph/generated/onnx_pb.js'
import { graphsOf, readsOf } from '../../graph/subgraphs.js'

/**
 * Lets every Dropout give what it gets. Exporters leave those of a model that was in training in it, which ONNX Runtime
 * takes out of a whole model again; run as they are they would give another answer each time. One whose mask is used stays.
 */
export function withoutDropout(graph: GraphProto): void {
  const read = new Set([...graph.node.flatMap(readsOf), ...graph.output.map(({ name }) => name)])
  graph.node = graph.node.map((node) => {
    for (const held of graphsOf(node)) withoutDropout(held)
    return isDropout(node) && !(node.output[1] && read.has(node.output[1])) ? passing(node) : node
  })
}

function isDropout({ opType, domain, input, output }: NodeProto): boolean {
  return opType === 'Dropout' && domain === '' && Boolean(input[0] && output[0])
}

function passing({ name, input, output, metadataProps }: NodeProto): NodeProto {
  return create(NodeProtoSchema, { name, opType: 'Identity', input: [input[0]!], output: [output[0]!], metadataProps })
}
