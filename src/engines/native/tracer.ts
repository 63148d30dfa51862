import { AssetError } from '../../core/errors.js'
import type { GraphIndex } from '../../graph/cut.js'
import { TensorProto_DataType as DataType, type NodeProto, type TensorProto } from '../../graph/generated/onnx_pb.js'
import { BLOCK_SIZE } from '../../graph/low-bit.js'
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
  | { readonly is: 'constant'; readonly kind: Kind; readonly dims: readonly number[]; readonly data: readonly number[] }

const FLOATS: readonly number[] = [DataType.FLOAT, DataType.FLOAT16, DataType.BFLOAT16]
const BLOCKS: readonly number[] = [DataType.INT8, DataType.INT4]
const KINDS = new Map<number, Kind>([
  [DataType.FLOAT, 'f32'],
  [DataType.FLOAT16, 'f32'],
  [DataType.BFLOAT16, 'f32'],
  [DataType.INT64, 'i64'],
  [DataType.BOOL, 'bool'],
])

/** The kind of value that an ONNX element type becomes. @throws AssetError 'UNSUPPORTED' */
export function kindOf(elemType: number): Kind {
  const kind = KINDS.get(elemType)
  if (!kind) throw cannot(`element type ${elemType} is not known to it`)
  return kind
}

/** Why a graph can't be run natively. */
export function cannot(why: string): AssetError {
  return new AssetError('UNSUPPORTED', `Cannot run the graph natively: ${why}`)
}

/** Collects native nodes while the nodes of a graph are gone through; knows what each name of the graph stands for. */
export class Tracer {
  readonly nodes: NativeNode[] = []
  readonly caches: CacheShape[] = []
  readonly vectors: string[] = []
  readonly matrices: string[] = []
  /** names of matrices of whole numbers, and of their scales */
  readonly scales = new Map<string, string>()
  values = 0
  private readonly names = new Map<string, Traced>()
  private readonly loaded = new Map<string, number>()
  private readonly makers = new Map<number, NativeNode>()

  constructor(readonly index: GraphIndex) {
    for (const { name, tensor } of index.weights.values()) {
      const blocks = BLOCKS.includes(tensor.dataType) && tensor.dims.length === 2
      if (!blocks && !FLOATS.includes(tensor.dataType)) throw cannot(`weight ${name} is of ONNX element type ${tensor.dataType}`)
      if (tensor.dims.length > 2) throw cannot(`weight ${name} has ${tensor.dims.length} dimensions`)
      if (blocks) this.names.set(name, { is: 'blocks', name })
      else this.names.set(name, tensor.dims.length === 2 ? { is: 'matrix', name, turned: false } : { is: 'vector', name })
    }
    for (const { name } of index.constants.values()) this.names.set(name, constant(index.constants.get(name)!))
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
    if (!traced) throw cannot(`${name} is not made by a node before it`)
    return traced
  }

  /** What a name stands for as a value; constants and vectors become one when they are first needed as such. */
  value(name: string): { value: number; kind: Kind } {
    const traced = this.traced(name)
    if (traced.is === 'value') return traced
    if (traced.is === 'matrix') throw cannot(`it can use the matrix ${traced.name} only in MatMul and Gather`)
    if (traced.is === 'blocks') throw cannot(`it can use the whole numbers ${traced.name} only with their scales`)
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
    if (bare) throw cannot(`it can use the whole numbers ${table} only with their scales`)
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
      throw cannot(`the weight ${name} [${weight.dims}] has scales [${by.dims}], not one for each ${BLOCK_SIZE} inputs`)
    if (!FLOATS.includes(by.dataType)) throw cannot(`the scales ${scale} are of ONNX element type ${by.dataType}`)
    if ((this.scales.get(name) ?? scale) !== scale) throw cannot(`the weight ${name} has two sets of scales`)
    this.scales.set(name, scale)
  }

  private loading(traced: Traced & { is: 'vector' | 'constant' }): NativeOp {
    if (traced.is === 'vector') return { op: 'vector', index: indexOf(this.vectors, traced.name) }
    const { kind, dims, data } = traced
    if (kind === 'bool') throw cannot('a constant is of booleans')
    return { op: kind === 'i64' ? 'integers' : 'floats', dims, data }
  }

  /** The numbers in a constant. @throws AssetError 'UNSUPPORTED' where a name is none */
  numbers(name: string): readonly number[] {
    const traced = this.traced(name)
    if (traced.is !== 'constant') throw cannot(`${name} is known only when it runs`)
    return traced.data
  }

  /** The number of a matrix among those of the program. */
  matrix(name: string): number {
    return indexOf(this.matrices, name)
  }

  /** Adds a node that makes the outputs of a graph's node. */
  node(run: NativeOp, inputs: readonly string[], outputs: readonly string[], kind: Kind): void {
    const made = outputs.map(() => this.values++)
    this.push(
      run,
      inputs.map((name) => this.value(name).value),
      made,
    )
    for (const [at, name] of outputs.entries()) this.names.set(name, { is: 'value', value: made[at]!, kind })
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

function indexOf(list: string[], name: string): number {
  const at = list.indexOf(name)
  return at < 0 ? list.push(name) - 1 : at
}

function constant(tensor: TensorProto): Traced {
  const kind = kindOf(tensor.dataType)
  const dims = tensor.dims.map(Number)
  const { rawData, dataType } = tensor
  const bytes = rawData.buffer.slice(rawData.byteOffset, rawData.byteOffset + rawData.byteLength)
  switch (dataType) {
    case DataType.FLOAT:
      return { is: 'constant', kind, dims, data: rawData.length > 0 ? [...new Float32Array(bytes)] : tensor.floatData }
    case DataType.INT64:
      return {
        is: 'constant',
        kind,
        dims,
        data: rawData.length > 0 ? Array.from(new BigInt64Array(bytes), Number) : tensor.int64Data.map(Number),
      }
    case DataType.BOOL:
      return { is: 'constant', kind, dims, data: rawData.length > 0 ? [...rawData] : tensor.int32Data }
    default:
      throw cannot(`the constant ${tensor.name} is of ONNX element type ${dataType}`)
  }
}

/** A whole-number attribute of a node. */
export function integer(node: NodeProto, name: string, fallback: number): number {
  const attribute = node.attribute.find((one) => one.name === name)
  return attribute ? Number(attribute.i) : fallback
}

/** A float attribute of a node. */
export function float(node: NodeProto, name: string, fallback: number): number {
  return node.attribute.find((one) => one.name === name)?.f ?? fallback
}

/** A text attribute of a node. */
export function text(node: NodeProto, name: string, fallback: string): string {
  const attribute = node.attribute.find((one) => one.name === name)
  return attribute ? Buffer.from(attribute.s).toString('utf8') : fallback
}
