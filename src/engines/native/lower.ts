import { branchesOf } from '../../graph/branches.js'
import { elementType, type GraphIndex } from '../../graph/cut.js'
import { shown } from '../../graph/names.js'
import { Holdings } from './holdings.js'
import { cannot, kindOf } from './not-native.js'
import { lowerNode } from './operators.js'
import type { NativeNode, Port, Program, ProgramSegment } from './program.js'
import { Tracer } from './tracer.js'

/**
 * A graph as a native program of one segment: weights with their `Cast` and `Transpose` become one node each, keys and
 * values become caches that are appended in place, and what nobody needs is left out.
 * @throws AssetError 'UNSUPPORTED' naming what the native engine doesn't know
 */
export function lowerGraph(index: GraphIndex): Program {
  const holdings = new Holdings(index)
  const branched = [...branchesOf(index).values()].flatMap(({ nodes }) => nodes.flatMap(({ input }) => input))
  return programOf([lowerSegment(index, holdings)], holdings, new Set(branched))
}

/** The program of segments that were lowered with the same holdings; `branched` are names among which are weights that not every pass needs. */
export function programOf(
  segments: readonly ProgramSegment[],
  { vectors, matrices, scales, caches }: Holdings,
  branched: ReadonlySet<string> = new Set(),
): Program {
  const cached = new Set(matrices.names.filter((name) => branched.has(name)))
  return { segments, caches, vectors: vectors.names, matrices: matrices.names, scales, cached }
}

/** Lowers `part`, a graph or a part of one as a graph of its own. @throws AssetError 'UNSUPPORTED' */
export function lowerSegment(part: GraphIndex, holdings: Holdings): ProgramSegment {
  const tracer = new Tracer(part, holdings)
  const given = part.inputs.map(({ name }): Port => ({ name, ...tracer.input(name) }))
  const before = holdings.caches.length
  for (const node of part.nodes) lowerNode(tracer, node)
  const caches = holdings.caches.slice(before)
  const present = new Set(caches.flatMap((cache) => cache.present))
  const past = new Set(caches.flatMap((cache) => cache.past))
  const outputs = part.outputs
    .filter(({ name }) => !present.has(name))
    .map(({ name }): Port => {
      const { value, kind } = tracer.value(name)
      if (kindOf(elementType(part, name)) !== kind) throw cannot(`its output ${shown(name)} is declared as another type than ${kind}`)
      return { name, value, kind }
    })
  const nodes = needed(tracer.nodes, outputs)
  const head = headOf(nodes, outputs)
  const inputs = given.filter(({ name }) => !past.has(name))
  return { values: tracer.values, nodes, inputs, outputs, ...(head !== undefined && { head }) }
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
 * last to use a weight or a cache. What it gives may be capped, element by element, before it is called logits.
 */
function headOf(nodes: readonly NativeNode[], outputs: readonly Port[]): number | undefined {
  const logits = outputs.find(({ name }) => name === 'logits')?.value
  const last = nodes.findLastIndex(({ run }) => ['linear', 'conv1d', 'attention'].includes(run.op))
  if (logits === undefined || nodes[last]?.run.op !== 'linear') return undefined
  const makers = new Map(nodes.flatMap((node) => node.outputs.map((value) => [value, node] as const)))
  const given = new Set(outputs.map(({ value }) => value))
  let value = logits
  while (makers.get(value) !== nodes[last]) {
    const from = elementwise(makers.get(value), makers)
    // Another output would be of the last row alone too.
    if (from === undefined || given.has(from)) return undefined
    value = from
  }
  return last
}

/** The value that a node changes element by element, by itself or with one number. */
function elementwise(node: NativeNode | undefined, makers: ReadonlyMap<number, NativeNode>): number | undefined {
  if (node?.run.op === 'unary') return node.inputs[0]
  const isNumber = (value: number) => {
    const run = makers.get(value)?.run
    return run?.op === 'floats' && run.dims.length === 0
  }
  const changed = node?.run.op === 'binary' ? node.inputs.filter((value) => !isNumber(value)) : []
  return changed.length === 1 ? changed[0] : undefined
}
