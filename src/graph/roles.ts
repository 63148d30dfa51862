import type { ModelProto, NodeProto } from './generated/onnx_pb.js'

// Between the output head and the logits.
const MOST_STEPS = 8

/**
 * What a matrix is for: rows are multiplied by its transpose, that makes the logits, rows of it are looked up, or anything else, as
 * for a router, whose products become shares by a Softmax: with fewer bits it would send tokens elsewhere.
 */
export type Role = 'linear' | 'head' | 'table' | 'other'

/** What each matrix of a graph without quantised weights is for, by its initializer's name; one that is used in several ways has them all. */
export function weightRoles(model: ModelProto): Map<string, ReadonlySet<Role>> {
  const graph = model.graph!
  // what a name stands for: an initializer, as it is or turned
  const known = new Map(graph.initializer.filter(({ dims }) => dims.length === 2).map(({ name }) => [name, { name, turned: false }]))
  const roles = new Map<string, Set<Role>>()
  const add = (name: string, role: Role) => roles.set(name, (roles.get(name) ?? new Set()).add(role))
  const head = logitsProduct(model)
  const shared = new Set(graph.node.filter(({ opType }) => opType === 'Softmax').flatMap(({ input }) => input))
  const roleOf = (node: NodeProto): Role => (node === head ? 'head' : shared.has(node.output[0]!) ? 'other' : 'linear')
  for (const node of graph.node) {
    const { opType, input, output } = node
    for (const [at, name] of input.entries()) {
      const weight = known.get(name)
      if (!weight) continue
      if (opType === 'Cast') known.set(output[0]!, weight)
      else if (opType === 'Transpose') known.set(output[0]!, { ...weight, turned: !weight.turned })
      else if (opType === 'Gather' && at === 0 && !weight.turned) add(weight.name, 'table')
      else if (opType === 'MatMul' && at === 1 && weight.turned) add(weight.name, roleOf(node))
      else add(weight.name, 'other')
    }
  }
  return roles
}

/** The product that the logits are, be it capped: each of their nodes back to it has one input that is no initializer. */
function logitsProduct({ graph }: ModelProto): NodeProto | undefined {
  const initializers = new Set(graph!.initializer.map(({ name }) => name))
  const makers = new Map(graph!.node.flatMap((node) => node.output.map((name) => [name, node] as const)))
  let node = makers.get('logits')
  for (let steps = 0; node && node.opType !== 'MatMul' && steps < MOST_STEPS; steps++) {
    const from: string[] = node.input.filter((name) => !initializers.has(name))
    node = from.length === 1 ? makers.get(from[0]!) : undefined
  }
  return node
}
