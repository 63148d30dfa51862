import { AssetError } from '../core/errors.js'
import { LIMITS } from '../core/limits.js'
import { type Constant, refuseFatal } from './fatal.js'
import {
  TensorProto_DataLocation as DataLocation,
  TensorProto_DataType as DataType,
  type GraphProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from './generated/onnx_pb.js'
import { quoted, shown } from './names.js'
import { graphsOf } from './subgraphs.js'
import { numbersOf } from './values.js'

/** The names of the domain of ONNX's own operators. */
export const STANDARD: readonly string[] = ['', 'ai.onnx']

// Operators that hold graphs, as attributes.
const HOLDERS: readonly string[] = ['If', 'Loop', 'Scan']
// A dimension beyond this is no tensor's; what the engines compute with it must not overflow.
const DIMENSION = 2n ** 31n
// Shapes have a few numbers; a constant of more is not looked into.
const FEW = 1024n

/**
 * Checks that a parsed graph can be run in its order: every name is made once and before it is used, also by the graphs
 * that If, Loop and Scan hold, every output is made, every node is a standard operator, declared dimensions are sizes, and
 * nothing is in it that ends the process.
 * @throws AssetError 'BAD_INPUT', 'UNSUPPORTED' for nodes of other domains and for others that hold graphs of their own
 */
export function checkGraph(graph: GraphProto): void {
  const scope = checkScope(graph)
  const initializers = new Set(graph.initializer.map(({ name }) => name))
  const outputs = new Set<string>()
  for (const { name } of graph.output) {
    if (outputs.has(name)) throw bad(`it has the output ${shown(name)} twice`)
    if (!scope.own.has(name) || initializers.has(name)) throw bad(`no node makes its output ${shown(name)}`)
    outputs.add(name)
  }
}

/** What the nodes of a graph see: its own names, and those around it. */
interface Scope {
  readonly own: Set<string>
  readonly around?: Scope | undefined
  readonly constant: Constant
}

function checkScope(graph: GraphProto, around?: Scope): Scope {
  const initializers = new Map(graph.initializer.map((tensor) => [tensor.name, tensor]))
  const scope: Scope = { own: new Set(), around, constant: constantsOf(graph, initializers, around?.constant) }
  const make = (name: string) => {
    if (sees(scope, name)) throw bad(`${shown(name)} is made twice`)
    scope.own.add(name)
  }
  if (initializers.has('')) throw bad('an initializer has no name')
  for (const value of graph.input) {
    checkDimensions(value)
    // One with a default value, which is that of the initializer.
    if (!initializers.has(value.name)) make(value.name)
  }
  for (const name of initializers.keys()) make(name)
  for (const node of graph.node) {
    checkNode(node)
    const missing = node.input.find((name) => name !== '' && !sees(scope, name))
    if (missing !== undefined)
      throw bad(`node ${shown(node.name)} (${shown(node.opType)}) needs ${shown(missing)}, which no node before it makes`)
    for (const held of graphsOf(node)) checkHeld(held, scope)
    for (const name of node.output) if (name !== '') make(name)
    refuseFatal(node, scope.constant)
  }
  for (const value of graph.output) checkDimensions(value)
  return scope
}

/** Checks a graph that a node holds. */
function checkHeld(graph: GraphProto, around: Scope): void {
  const scope = checkScope(graph, around)
  for (const { name } of graph.output) if (!sees(scope, name)) throw bad(`no node makes the output ${shown(name)} of a graph in it`)
}

function sees(scope: Scope, name: string): boolean {
  for (let at: Scope | undefined = scope; at; at = at.around) if (at.own.has(name)) return true
  return false
}

function checkNode({ name, opType, domain, attribute }: NodeProto): void {
  const node = `node ${shown(name)} (${shown(opType)})`
  // Models need standard operators alone; those of other domains have had less care, and some open files.
  if (!STANDARD.includes(domain))
    throw new AssetError(
      'UNSUPPORTED',
      `Cannot run the graph: ${node} is of the domain ${quoted(domain)}; only standard ONNX operators are run`,
    )
  if (attribute.some(({ g, graphs }) => graphs.length > 0 || (g && !HOLDERS.includes(opType))))
    throw new AssetError('UNSUPPORTED', `Cannot run the graph: ${node} holds a graph of its own`)
}

function checkDimensions({ name, type }: ValueInfoProto): void {
  const dims = type?.value.case === 'tensorType' ? (type.value.value.shape?.dim ?? []) : []
  if (dims.length > LIMITS.dimensions) throw bad(`${shown(name)} has ${dims.length} dimensions, at most ${LIMITS.dimensions} are read`)
  for (const { value } of dims)
    if (value.case === 'dimValue' && (value.value < 0n || value.value >= DIMENSION))
      throw bad(`${shown(name)} has a dimension of ${value.value}`)
}

/** Numbers of initializers inside the graph and of Constant nodes; each is decoded once, however many nodes ask. */
function constantsOf(graph: GraphProto, initializers: ReadonlyMap<string, TensorProto>, around?: Constant): Constant {
  const nodes = new Map(graph.node.filter(({ opType }) => opType === 'Constant').map((node) => [node.output[0], node]))
  const known = new Map<string, ReturnType<Constant>>()
  return (name) => {
    if (!known.has(name)) known.set(name, numbersBy(initializers.get(name), nodes.get(name)) ?? around?.(name))
    return known.get(name)
  }
}

function numbersBy(initializer: TensorProto | undefined, node: NodeProto | undefined): ReturnType<Constant> {
  const tensor = initializer ?? node?.attribute.find(({ t }) => t)?.t
  if (tensor) {
    if (tensor.dataLocation === DataLocation.EXTERNAL || tensor.dims.reduce((product, dim) => product * dim, 1n) > FEW) return undefined
    const values = numbersOf(tensor)
    return values && { integers: tensor.dataType !== DataType.FLOAT, values }
  }
  const found = node?.attribute.find(({ name }) => /^value_(int|float)s?$/.test(name))
  if (!found || found.ints.length + found.floats.length > FEW) return undefined
  const values = found.name.endsWith('s') ? [...found.ints, ...found.floats] : [found.name === 'value_int' ? found.i : found.f]
  return { integers: found.name.startsWith('value_int'), values: values.map(Number) }
}

function bad(why: string): AssetError {
  return new AssetError('BAD_INPUT', `Cannot run the graph: ${why}`)
}
