import { elementType, type GraphIndex, type Weight } from '../../graph/cut.js'
import { TensorProto_DataType as DataType, type NodeProto, type TensorProto } from '../../graph/generated/onnx_pb.js'
import { shown } from '../../graph/names.js'
import { numbersOf } from '../../graph/values.js'
import type { Holdings } from './holdings.js'
import { cannot, FLOATS, kindOf } from './not-native.js'
import type { Kind, NativeNode, NativeOp } from './program.js'

/** What a name of the graph stands for while it is lowered. */
export type Traced =
  | { readonly is: 'value'; readonly value: number; readonly kind: Kind }
  | { readonly is: 'matrix'; readonly name: string; readonly turned: boolean }
  /** whole numbers that are nothing without their scales */
  | { readonly is: 'blocks'; readonly name: string }
  /** rows of a table by ids; `bare` ones are of whole numbers and lack their scales */
  | { readonly is: 'picked'; readonly table: string; readonly ids: string; readonly bare: boolean }
  | { readonly is: 'vector'; readonly name: string }
  /** places that were found in a value, once they are turned: (places, dimensions) */
  | { readonly is: 'found'; readonly value: number }
  | { readonly is: 'constant'; readonly kind: Kind; readonly dims: readonly number[]; readonly tensor: TensorProto }

const BLOCKS: readonly number[] = [DataType.INT8, DataType.INT4]
// A program is text: what is larger than this belongs into a fragment.
const CONSTANT = 2 ** 16

/** Collects the native nodes of one segment while the nodes of a graph are gone through; knows what each name stands for. */
export class Tracer {
  readonly nodes: NativeNode[] = []
  values = 0
  private readonly names = new Map<string, Traced>()
  private readonly given = new Set<string>()
  private readonly loaded = new Map<string, number>()
  private readonly makers = new Map<number, NativeNode>()

  constructor(
    readonly index: GraphIndex,
    readonly holdings: Holdings,
  ) {}

  /** A new value for a name that is given, of the kind that the graph declares. @throws AssetError 'UNSUPPORTED' for another type */
  input(name: string): { value: number; kind: Kind } {
    const kind = kindOf(elementType(this.index, name))
    const value = this.values++
    this.names.set(name, { is: 'value', value, kind })
    return { value, kind }
  }

  /** Says that a name is given: whether it can be used shows when it is. */
  give(name: string): void {
    this.names.delete(name)
    this.given.add(name)
  }

  /** True for a name that stands for a weight, rows of it, or a constant: nothing is computed for it before somebody uses it. */
  isStored(name: string): boolean {
    const traced = this.names.get(name)
    return traced !== undefined && traced.is !== 'value'
  }

  /** True for a name that stands for rows of a table, as floats. */
  isRows(name: string): boolean {
    const traced = this.names.get(name)
    return traced?.is === 'picked' && !traced.bare
  }

  /** Lets a name stand for something that is there already. */
  alias(name: string, traced: Traced): void {
    this.names.set(name, traced)
  }

  traced(name: string): Traced {
    const known = this.names.get(name)
    if (known) return known
    if (this.given.has(name)) return { is: 'value', ...this.input(name) }
    const [weight, tensor] = [this.index.weights.get(name), this.index.constants.get(name)]
    if (!weight && !tensor) throw cannot(`${shown(name)} is not made by a node before it`)
    const traced: Traced = weight
      ? storedAs(weight)
      : { is: 'constant', kind: kindOf(tensor!.dataType), dims: tensor!.dims.map(Number), tensor: tensor! }
    this.names.set(name, traced)
    return traced
  }

  /** What a name stands for as a value; constants and vectors become one when they are first needed as such. */
  value(name: string): { value: number; kind: Kind } {
    const traced = this.traced(name)
    if (traced.is === 'value') return traced
    if (traced.is === 'matrix') throw cannot(`it can use the matrix ${shown(traced.name)} only in MatMul and Gather`)
    if (traced.is === 'blocks') throw cannot(`it can use the whole numbers ${shown(traced.name)} only with their scales`)
    if (traced.is === 'picked') return this.pick(name, traced)
    if (traced.is === 'found') throw cannot('it can use what a NonZero finds only turned')
    const kind = traced.is === 'vector' ? 'f32' : traced.kind
    const known = this.loaded.get(name)
    if (known !== undefined) return { value: known, kind }
    const value = this.values++
    this.push(this.loading(traced), [], [value])
    this.loaded.set(name, value)
    return { value, kind }
  }

  /** The rows of a table become a value when they are first needed as such. */
  private pick(name: string, { table, ids, bare }: Traced & { is: 'picked' }): { value: number; kind: Kind } {
    if (bare) throw cannot(`it can use the whole numbers ${shown(table)} only with their scales`)
    const key = `${table}[${ids}]`
    const known = this.loaded.get(key)
    const value = known ?? this.values++
    if (known === undefined) this.push({ op: 'rows', weight: this.matrix(table) }, [this.value(ids).value], [value])
    this.loaded.set(key, value)
    this.names.set(name, { is: 'value', value, kind: 'f32' })
    return { value, kind: 'f32' }
  }

  private loading(traced: Traced & { is: 'vector' | 'constant' }): NativeOp {
    if (traced.is === 'vector') return { op: 'vector', index: this.holdings.vectors.of(traced.name) }
    if (traced.kind === 'bool') throw cannot('a constant is of booleans')
    return { op: traced.kind === 'i64' ? 'integers' : 'floats', dims: traced.dims, data: contents(traced.tensor) }
  }

  /** The whole numbers in a constant. @throws AssetError 'UNSUPPORTED' where a name is none */
  numbers(name: string): readonly number[] {
    const traced = this.traced(name)
    if (traced.is !== 'constant' || traced.kind !== 'i64') throw cannot(`${shown(name)} is known only when it runs`)
    return contents(traced.tensor)
  }

  /** The number of a matrix among those of the program. */
  matrix(name: string): number {
    return this.holdings.matrices.of(name)
  }

  /** Adds a node of values that have no name in the graph; gives those that it makes. */
  made(run: NativeOp, inputs: readonly number[], count: number): number[] {
    const outputs = Array.from({ length: count }, () => this.values++)
    this.push(run, inputs, outputs)
    return outputs
  }

  /** Adds a node that makes the outputs of a graph's node. */
  node(run: NativeOp, inputs: readonly string[], outputs: readonly string[], kind: Kind): void {
    const given = inputs.map((name) => this.value(name).value)
    const made = this.made(run, given, outputs.length)
    for (const [at, name] of outputs.entries()) if (name !== '') this.names.set(name, { is: 'value', value: made[at]!, kind })
  }

  /** The node that made a value. */
  maker(value: number): NativeNode | undefined {
    return this.makers.get(value)
  }

  private push(run: NativeOp, inputs: readonly number[], outputs: readonly number[]): void {
    const node = { run, inputs, outputs }
    this.nodes.push(node)
    for (const value of outputs) this.makers.set(value, node)
  }
}

/** What a weight is natively. @throws AssetError 'UNSUPPORTED' */
function storedAs({ name, tensor }: Weight): Traced {
  const blocks = BLOCKS.includes(tensor.dataType) && tensor.dims.length === 2
  if (!blocks && !FLOATS.includes(tensor.dataType)) throw cannot(`weight ${shown(name)} is of ONNX element type ${tensor.dataType}`)
  if (tensor.dims.length > 2 || tensor.dims.includes(0n)) throw cannot(`weight ${shown(name)} has the shape [${tensor.dims}]`)
  if (blocks) return { is: 'blocks', name }
  return tensor.dims.length === 2 ? { is: 'matrix', name, turned: false } : { is: 'vector', name }
}

/** The elements of a constant, which JSON must be able to say. */
function contents(tensor: TensorProto): readonly number[] {
  const count = tensor.dims.reduce((product, dim) => product * Number(dim), 1)
  if (count > CONSTANT) throw cannot(`the constant ${shown(tensor.name)} has ${count} elements, at most ${CONSTANT} are taken`)
  const data = numbersOf(tensor) ?? []
  const odd = data.find((number) => !Number.isFinite(number) || (tensor.dataType !== DataType.FLOAT && !Number.isSafeInteger(number)))
  if (odd !== undefined) throw cannot(`the constant ${shown(tensor.name)} holds ${odd}`)
  return data
}

/** A whole-number attribute of a node. @throws AssetError 'UNSUPPORTED' for one above 2^53 */
export function integer(node: NodeProto, name: string, fallback: number): number {
  const attribute = node.attribute.find((one) => one.name === name)
  const value = attribute ? Number(attribute.i) : fallback
  if (!Number.isSafeInteger(value)) throw cannot(`${node.opType} has the ${name} ${value}`)
  return value
}

/** A float attribute of a node. @throws AssetError 'UNSUPPORTED' for one that is infinite or no number */
export function float(node: NodeProto, name: string, fallback: number): number {
  const value = node.attribute.find((one) => one.name === name)?.f ?? fallback
  if (!Number.isFinite(value)) throw cannot(`${node.opType} has the ${name} ${value}`)
  return value
}

/** A text attribute of a node. */
export function text(node: NodeProto, name: string, fallback: string): string {
  const attribute = node.attribute.find((one) => one.name === name)
  return attribute ? Buffer.from(attribute.s).toString('utf8') : fallback
}

/** The kind of a node's input. @throws AssetError 'UNSUPPORTED' where it is not among `kinds` */
export function kindAt(tracer: Tracer, { input, opType }: NodeProto, at: number, kinds: readonly Kind[] = ['f32', 'i64', 'bool']): Kind {
  const { kind } = tracer.value(input[at]!)
  if (!kinds.includes(kind)) throw cannot(`input ${at} of ${opType} is of ${kind}`)
  return kind
}
