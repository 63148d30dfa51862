import { AssetError } from '../../core/errors.js'
import type { GraphIndex } from '../../graph/cut.js'
import { TensorProto_DataType as DataType, type NodeProto, type TensorProto } from '../../graph/generated/onnx_pb.js'
import { BLOCK_SIZE } from '../../graph/low-bit.js'
import { shown } from '../../graph/names.js'
import { numbersOf } from '../../graph/values.js'
import type { CacheShape, Kind, NativeNode, NativeOp } from './program.js'

/** What a name of the graph stands for while it is lowered. */
export type Traced =
  | { readonly is: 'value'; readonly value: number; readonly kind: Kind }
  | { readonly is: 'matrix'; readonly name: string; readonly turned: boolean }
  /** whole numbers that are nothing without their scales */
  | { readonly is: 'blocks'; readonly name: string }
  /** rows of a table by ids; `bare` ones are of whole numbers and lack their scales */
  | { readonly is: 'picked'; readonly table: string; readonly ids: string; readonly bare: boolean }
  | { readonly is: 'vector'; readonly name: string }
  | { readonly is: 'constant'; readonly kind: Kind; readonly dims: readonly number[]; readonly tensor: TensorProto }

const FLOATS: readonly number[] = [DataType.FLOAT, DataType.FLOAT16, DataType.BFLOAT16]
const BLOCKS: readonly number[] = [DataType.INT8, DataType.INT4]
const KINDS = new Map<number, Kind>([
  [DataType.FLOAT, 'f32'],
  [DataType.INT64, 'i64'],
  [DataType.BOOL, 'bool'],
])
// A program is text: what is larger than this belongs into a fragment.
const CONSTANT = 2 ** 16

/** The kind of value that an ONNX element type is; 16-bit floats are only how weights are stored. @throws AssetError 'UNSUPPORTED' */
export function kindOf(elemType: number): Kind {
  const kind = KINDS.get(elemType)
  if (!kind) throw cannot(`element type ${elemType} is not known to it`)
  return kind
}

/** Why a graph can't be run natively. */
export function cannot(why: string): AssetError {
  return new AssetError('UNSUPPORTED', `Cannot run the graph natively: ${why}`)
}

/** Names with numbers in the order of their first use. */
class Numbered {
  private readonly at = new Map<string, number>()

  of(name: string): number {
    const at = this.at.get(name) ?? this.at.size
    this.at.set(name, at)
    return at
  }

  get names(): string[] {
    return [...this.at.keys()]
  }
}

/** Collects native nodes while the nodes of a graph are gone through; knows what each name of the graph stands for. */
export class Tracer {
  readonly nodes: NativeNode[] = []
  readonly caches: CacheShape[] = []
  readonly vectors = new Numbered()
  readonly matrices = new Numbered()
  /** names of matrices of whole numbers, and of their scales */
  readonly scales = new Map<string, string>()
  values = 0
  private readonly names = new Map<string, Traced>()
  private readonly loaded = new Map<string, number>()
  private readonly makers = new Map<number, NativeNode>()
  private readonly inputs: ReadonlySet<string>
  private readonly outputs: ReadonlySet<string>
  private readonly cached = new Set<string>()

  constructor(readonly index: GraphIndex) {
    this.inputs = new Set(index.inputs.map(({ name }) => name))
    this.outputs = new Set(index.outputs.map(({ name }) => name))
    for (const { name, tensor } of index.weights.values()) {
      const blocks = BLOCKS.includes(tensor.dataType) && tensor.dims.length === 2
      if (!blocks && !FLOATS.includes(tensor.dataType)) throw cannot(`weight ${shown(name)} is of ONNX element type ${tensor.dataType}`)
      if (tensor.dims.length > 2 || tensor.dims.includes(0n)) throw cannot(`weight ${shown(name)} has the shape [${tensor.dims}]`)
      if (blocks) this.names.set(name, { is: 'blocks', name })
      else this.names.set(name, tensor.dims.length === 2 ? { is: 'matrix', name, turned: false } : { is: 'vector', name })
    }
    for (const [name, tensor] of index.constants)
      this.names.set(name, { is: 'constant', kind: kindOf(tensor.dataType), dims: tensor.dims.map(Number), tensor })
  }

  /** A new value for a name that the caller gives. */
  input(name: string, kind: Kind): number {
    const value = this.values++
    this.names.set(name, { is: 'value', value, kind })
    return value
  }

  /** Lets a name stand for something that is there already. */
  alias(name: string, traced: Traced): void {
    this.names.set(name, traced)
  }

  traced(name: string): Traced {
    const traced = this.names.get(name)
    if (!traced) throw cannot(`${shown(name)} is not made by a node before it`)
    return traced
  }

  /** What a name stands for as a value; constants and vectors become one when they are first needed as such. */
  value(name: string): { value: number; kind: Kind } {
    const traced = this.traced(name)
    if (traced.is === 'value') return traced
    if (traced.is === 'matrix') throw cannot(`it can use the matrix ${shown(traced.name)} only in MatMul and Gather`)
    if (traced.is === 'blocks') throw cannot(`it can use the whole numbers ${shown(traced.name)} only with their scales`)
    if (traced.is === 'picked') return this.pick(name, traced)
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

  /** Joins whole numbers and their scales, one for each block of a row. @throws AssetError 'UNSUPPORTED' where they don't fit */
  join(name: string, scale: string): void {
    const [weight, by] = [this.index.weights.get(name)!.tensor, this.index.weights.get(scale)!.tensor]
    const [rows, inputs] = weight.dims.map(Number) as [number, number]
    if (inputs % BLOCK_SIZE !== 0 || by.dims.map(Number).join() !== [rows, inputs / BLOCK_SIZE].join())
      throw cannot(`the weight ${shown(name)} [${weight.dims}] has scales [${by.dims}], not one for each ${BLOCK_SIZE} inputs`)
    if (!FLOATS.includes(by.dataType)) throw cannot(`the scales ${shown(scale)} are of ONNX element type ${by.dataType}`)
    if ((this.scales.get(name) ?? scale) !== scale) throw cannot(`the weight ${shown(name)} has two sets of scales`)
    this.scales.set(name, scale)
  }

  private loading(traced: Traced & { is: 'vector' | 'constant' }): NativeOp {
    if (traced.is === 'vector') return { op: 'vector', index: this.vectors.of(traced.name) }
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
    return this.matrices.of(name)
  }

  /**
   * A new cache of keys and values: `past` are its inputs of the graph and `present` its outputs, which nothing else uses.
   * @throws AssetError 'UNSUPPORTED' where they are something else
   */
  cache(kvHeads: number, past: readonly string[], present: readonly string[]): number {
    const names = [...past, ...present]
    const dims = past.map((name) => {
      const type = this.index.types.get(name)?.value
      const dim = type?.case === 'tensorType' ? (type.value.shape?.dim ?? []) : []
      return dim.map(({ value }) => (value.case === 'dimValue' ? Number(value.value) : undefined))
    })
    const headDim = dims[0]?.[3]
    const fits =
      past.length === 2 &&
      present.length === 2 &&
      new Set(names).size === 4 &&
      past.every((name) => this.inputs.has(name)) &&
      present.every((name) => this.outputs.has(name)) &&
      !names.some((name) => this.cached.has(name)) &&
      dims.every((dim) => dim.length === 4 && dim[1] === kvHeads && dim[3] === headDim)
    if (!fits || !headDim) throw cannot('the cache of an Attention is not an input and an output of the graph, for it alone')
    for (const name of names) this.cached.add(name)
    return this.caches.push({ kvHeads, headDim, past: past as [string, string], present: present as [string, string] }) - 1
  }

  /** Adds a node that makes the outputs of a graph's node. */
  node(run: NativeOp, inputs: readonly string[], outputs: readonly string[], kind: Kind): void {
    const made = outputs.map(() => this.values++)
    this.push(
      run,
      inputs.map((name) => this.value(name).value),
      made,
    )
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
