import { elementType, type GraphIndex } from '../../graph/cut.js'
import { shown } from '../../graph/names.js'
import { lowerNode } from './operators.js'
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
  for (const node of index.nodes) lowerNode(tracer, node)
  const { caches } = tracer
  const present = new Set(caches.flatMap((cache) => cache.present))
  const past = new Set(caches.flatMap((cache) => cache.past))
  const outputs = index.outputs
    .filter(({ name }) => !present.has(name))
    .map(({ name }): Port => {
      const { value, kind } = tracer.value(name)
      if (kindOf(elementType(index, name)) !== kind) throw cannot(`its output ${shown(name)} is declared as another type than ${kind}`)
      return { name, value, kind }
    })
  const nodes = needed(tracer.nodes, outputs)
  checkCaches(given, past, nodes, outputs)
  const head = headOf(nodes, outputs)
  const inputs = given.filter(({ name }) => !past.has(name))
  const [vectors, matrices, scales] = [tracer.vectors.names, tracer.matrices.names, tracer.scales]
  return { values: tracer.values, nodes, inputs, outputs, caches, vectors, matrices, scales, ...(head !== undefined && { head }) }
}

/** A cache is kept by the engine, so nothing else can use the inputs that it stands for. */
function checkCaches(given: readonly Port[], past: ReadonlySet<string>, nodes: readonly NativeNode[], outputs: readonly Port[]): void {
  const kept = new Map(given.filter(({ name }) => past.has(name)).map(({ name, value }) => [value, name]))
  for (const value of [...nodes.flatMap(({ inputs }) => inputs), ...outputs.map(({ value }) => value)]) {
    const name = kept.get(value)
    if (name !== undefined) throw cannot(`${shown(name)} is used as a cache and as a value`)
  }
}

/** The nodes that outputs and caches depend on. */
function needed(nodes: readonly NativeNode[], outputs: readonly Port[]): NativeNode[] {
  const wanted = new Set(outputs.map(({ value }) => value))
  const kept: NativeNode[] = []
  for (const node of [...nodes].reverse()) {
    const caches = node.run.op === 'attention' && node.run.cache !== undefined
    if (!caches && !node.outputs.some((value) => wanted.has(value))) continue
    for (const value of node.inputs) wanted.add(value)
    kept.push(node)
  }
  return kept.reverse()
}

/**
 * The product that makes the logits out of hidden states, row by row: generation needs only its last row, or none. It is the
 * last to use a weight or a cache.
 */
function headOf(nodes: readonly NativeNode[], outputs: readonly Port[]): number | undefined {
  const logits = outputs.find(({ name }) => name === 'logits')
  const at = nodes.findIndex(({ outputs: made }) => logits !== undefined && made.includes(logits.value))
  const last = nodes.findLastIndex(({ run }) => ['linear', 'conv1d', 'attention'].includes(run.op))
  return at >= 0 && at === last && nodes[at]!.run.op === 'linear' ? at : undefined
}
