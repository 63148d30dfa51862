import { create } from '@bufbuild/protobuf'
import type { GraphIndex } from './cut.js'
import { type NodeProto, ValueInfoProtoSchema } from './generated/onnx_pb.js'
import { readsOf } from './subgraphs.js'

/**
 * Lists of nodes that together are a graph as graphs of their own, in the same order: each gives out what another one or
 * the caller needs. A node may be in several of them; then each has its own result of it.
 */
export function partsOf(index: GraphIndex, lists: readonly (readonly NodeProto[])[]): GraphIndex[] {
  const needs = lists.map((nodes) => inputsOf(index, nodes))
  const crossing = new Set([...needs.flat(), ...index.outputs.map(({ name }) => name)])
  const info = (name: string) => {
    const type = index.types.get(name)
    return create(ValueInfoProtoSchema, { name, ...(type && { type }) })
  }
  return lists.map((nodes, at) => {
    const outputs = nodes.flatMap(({ output }) => output).filter((name) => name !== '' && crossing.has(name))
    return { ...index, nodes, inputs: needs[at]!.map(info), outputs: outputs.map(info) }
  })
}

/** Values that nodes need and don't make themselves. */
function inputsOf({ weights, constants }: GraphIndex, nodes: readonly NodeProto[]): string[] {
  const made = new Set(nodes.flatMap(({ output }) => output))
  const used = new Set(nodes.flatMap(readsOf))
  return [...used].filter((name) => name !== '' && !made.has(name) && !weights.has(name) && !constants.has(name))
}
