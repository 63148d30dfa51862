import { elementType, type GraphIndex } from '../../graph/cut.js'
import { OPERATORS } from './operators.js'
import type { NativeNode, Port, Program } from './program.js'
import { cannot, kindOf, Tracer } from './tracer.js'

/**
 * A graph as a native program: weights with their `Cast` and `Transpose` become one node each, keys and values become
 * caches that are appended in place, and what nobody needs is left out.
 * @throws AssetError 'UNSUPPORTED' naming what the native engine doesn't know
 */
export function lowerGraph(index: GraphIndex): Program {
  const tracer = new Tracer(index)
  const given = index.inputs.map(({ name }): Port => {
    const kind = kindOf(elementType(index, name))
    return { name, value: tracer.input(name, kind), kind }
  })
  for (const node of index.nodes) {
    const lower = node.domain === '' ? OPERATORS.get(node.opType) : undefined
    if (!lower) throw cannot(`${node.opType} (node ${node.name}) is not known to it`)
    lower(tracer, node)
  }
  const { caches, vectors, matrices, scales } = tracer
  const present = new Set(caches.flatMap((cache) => cache.present))
  const past = new Set(caches.flatMap((cache) => cache.past))
  const outputs = index.outputs
    .filter(({ name }) => !present.has(name))
    .map(({ name }): Port => ({ name, ...tracer.value(name) }))
    .map(({ name, value, kind }) => ({ name, value, kind }))
  const nodes = needed(tracer.nodes, outputs)
  const head = headOf(nodes, outputs)
  const inputs = given.filter(({ name }) => !past.has(name))
  return { values: tracer.values, nodes, inputs, outputs, caches, vectors, matrices, scales, ...(head !== undefined && { head }) }
}

/** The nodes that outputs depend on. */
function needed(nodes: readonly NativeNode[], outputs: readonly Port[]): NativeNode[] {
  const wanted = new Set(outputs.map(({ value }) => value))
  const kept: NativeNode[] = []
  for (const node of [...nodes].reverse()) {
    if (!node.outputs.some((value) => wanted.has(value))) continue
    for (const value of node.inputs) wanted.add(value)
    kept.push(node)
  }
  return kept.reverse()
}

/** The product that makes the logits out of hidden states, row by row: generation needs only its last row. */
function headOf(nodes: readonly NativeNode[], outputs: readonly Port[]): number | undefined {
  const logits = outputs.find(({ name }) => name === 'logits')
  const at = nodes.findIndex(({ outputs: made }) => logits !== undefined && made.includes(logits.value))
  return at >= 0 && nodes[at]!.run.op === 'linear' ? at : undefined
}
