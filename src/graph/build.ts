import { create } from '@bufbuild/protobuf'
import { type Dtype, tensorBytes } from '../core/dtypes.js'
import { AssetError } from '../core/errors.js'
import { LIMITS } from '../core/limits.js'
import { type Attributes, attributeProtos } from './attributes.js'
import { dataTypeOf } from './elements.js'
import {
  TensorProto_DataLocation as DataLocation,
  type GraphProto,
  GraphProtoSchema,
  type ModelProto,
  ModelProtoSchema,
  NodeProtoSchema,
  TensorProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from './generated/onnx_pb.js'
import { shown } from './names.js'
import type { StateDict, WeightRef } from './weights.js'

// Opset 23 has Attention, RotaryEmbedding and RMSNormalization; IR version 11 came with it.
const OPSET = 23n
const IR_VERSION = 11n

/** A dimension: a size, or the name of one that is known only when the graph runs (`batch`, `sequence`, ...). */
export type Dim = number | string

/** A value of the graph under construction: its name, element type and, where known, its dimensions. */
export interface Value {
  readonly name: string
  readonly dtype: Dtype
  readonly dims?: readonly Dim[]
}

/** What a node makes where it differs from its first input: element type, dimensions, and a fixed name for a graph output. */
export interface Result {
  readonly dtype?: Dtype
  /** undefined, when given as such, for unknown */
  readonly dims?: readonly Dim[] | undefined
  readonly name?: string
}

const FLOATS: readonly Dtype[] = ['F32', 'F16', 'BF16', 'F64']

/**
 * Collects nodes in forward order. Weights become external initializers when they are first used, named as in the
 * state dict; every value has its element type recorded, so that the graph can be cut anywhere.
 */
export class GraphBuilder {
  private readonly graph: GraphProto
  private readonly names: Set<string>
  private readonly weights = new Map<string, Value>()
  private readonly constants = new Map<string, Value>()
  private readonly info = new Map<string, ValueInfoProto>()

  /** `owners` says under which name the bytes of a tied tensor are (alias -> owner), used where the state dict lacks the alias. */
  constructor(
    name: string,
    private readonly stateDict: StateDict,
    private readonly owners: ReadonlyMap<string, string> = new Map(),
  ) {
    this.graph = create(GraphProtoSchema, { name })
    this.names = new Set(stateDict.keys())
  }

  /** The module with this key (`model.layers.0`); the root is ''. */
  module(key: string): Module {
    return new Module(this, key)
  }

  input(name: string, dtype: Dtype, dims: readonly Dim[]): Value {
    this.names.add(name)
    this.graph.input.push(valueInfo({ name, dtype, dims }))
    return { name, dtype, dims }
  }

  /** Makes a value an output of the graph, under the name that it has. */
  output(value: Value): void {
    this.graph.output.push(valueInfo(value))
    this.info.delete(value.name)
  }

  /** A small tensor inside the graph, shared by all who ask for the same name. Values are floats, 64-bit integers or bytes by `dtype`. */
  constant(name: string, dtype: 'F32' | 'I64' | 'U8', values: readonly number[], dims: readonly number[]): Value {
    const known = this.constants.get(name)
    if (known) return known
    const raw = dtype === 'F32' ? Float32Array.from(values) : dtype === 'U8' ? Uint8Array.from(values) : BigInt64Array.from(values, BigInt)
    const value = { name: this.unique(name), dtype, dims }
    this.graph.initializer.push(
      create(TensorProtoSchema, {
        name: value.name,
        dataType: dataTypeOf(dtype),
        dims: dims.map(BigInt),
        rawData: new Uint8Array(raw.buffer),
      }),
    )
    this.constants.set(name, value)
    return value
  }

  /**
   * The weight called `key` in the state dict, as stored.
   * @throws AssetError 'BAD_INPUT' when it is missing or has another shape or length, 'UNSUPPORTED' when it is not of floats
   */
  weight(key: string, shape: readonly number[]): Value {
    const owner = this.owner(key)
    const ref = this.stateDict.get(owner)
    if (!ref) throw new AssetError('BAD_INPUT', `Cannot build the graph: tensor ${shown(key)} ${list(shape)} is missing from the weights`)
    if (ref.shape.length !== shape.length || ref.shape.some((dim, axis) => dim !== shape[axis]))
      throw new AssetError(
        'BAD_INPUT',
        `Cannot build the graph: tensor ${shown(owner)} has the shape ${list(ref.shape)}, expected ${list(shape)}`,
      )
    if (!FLOATS.includes(ref.dtype))
      throw new AssetError(
        'UNSUPPORTED',
        `Cannot build the graph: tensor ${shown(owner)} is of ${ref.dtype}; use weights of ${FLOATS.join(', ')}`,
      )
    if (ref.length !== tensorBytes(ref.dtype, ref.shape))
      throw new AssetError(
        'BAD_INPUT',
        `Cannot build the graph: tensor ${shown(owner)} ${list(shape)} of ${ref.dtype} has ${ref.length} bytes`,
      )
    return this.external(owner, ref, dataTypeOf(ref.dtype), ref.shape)
  }

  /** Under which name the state dict has the bytes of a tensor, and what it says of them. */
  stored(key: string): { readonly name: string; readonly ref: WeightRef | undefined } {
    const name = this.owner(key)
    return { name, ref: this.stateDict.get(name) }
  }

  /** A tensor of the state dict as an initializer, of an element type and shape that may be others than those it is stored with. */
  external(name: string, ref: WeightRef, dataType: number, dims: readonly number[]): Value {
    const known = this.weights.get(name)
    if (known) return known
    const entries = { location: ref.location, offset: String(ref.offset), length: String(ref.length) }
    this.graph.initializer.push(
      create(TensorProtoSchema, {
        name,
        dataType,
        dims: dims.map(BigInt),
        dataLocation: DataLocation.EXTERNAL,
        externalData: Object.entries(entries).map(([name, value]) => ({ key: name, value })),
      }),
    )
    const value = { name, dtype: ref.dtype, dims }
    this.weights.set(name, value)
    return value
  }

  /** Appends a node; a missing optional input is undefined. `path` is the module path, such as `/model/layers/0`. */
  node(path: string, op: string, inputs: readonly (Value | undefined)[], attributes: Attributes, results: readonly Result[]): Value[] {
    if (this.graph.node.length >= LIMITS.graphNodes)
      throw new AssetError('LIMIT', `Cannot build the graph: it needs more than ${LIMITS.graphNodes} nodes`)
    const name = this.unique(`${path}/${op}`)
    const first = inputs[0]
    const outputs = results.map((result, index) => {
      const dims = 'dims' in result ? result.dims : first?.dims
      const dtype = result.dtype ?? first?.dtype ?? 'F32'
      return { name: result.name ? this.unique(result.name) : this.unique(`${name}_output_${index}`), dtype, ...(dims && { dims }) }
    })
    this.graph.node.push(
      create(NodeProtoSchema, {
        name,
        opType: op,
        input: inputs.map((input) => input?.name ?? ''),
        output: outputs.map((output) => output.name),
        attribute: attributeProtos(attributes),
      }),
    )
    for (const output of outputs) this.info.set(output.name, valueInfo(output))
    return outputs
  }

  /** The finished model: opset 23, no time stamps, so the same input gives the same bytes. */
  finish(): ModelProto {
    this.graph.valueInfo = [...this.info.values()]
    const opsetImport = [{ domain: '', version: OPSET }]
    return create(ModelProtoSchema, { irVersion: IR_VERSION, producerName: 'module-assets', opsetImport, graph: this.graph })
  }

  private owner(key: string): string {
    return this.stateDict.has(key) ? key : (this.owners.get(key) ?? key)
  }

  /** A name that no tensor, value or node has yet. */
  private unique(wanted: string): string {
    let name = wanted
    for (let n = 1; this.names.has(name); n++) name = `${wanted}_${n}`
    this.names.add(name)
    return name
  }
}

/** A module of the model: where its weights and nodes get their names from. */
export class Module {
  constructor(
    readonly graph: GraphBuilder,
    readonly key: string,
  ) {}

  /** The submodule called `name`; a dotted name goes deeper. */
  child(name: string): Module {
    return new Module(this.graph, this.key === '' ? name : `${this.key}.${name}`)
  }

  /** This module's own tensor, as stored. */
  weight(name: string, shape: readonly number[]): Value {
    return this.graph.weight(this.child(name).key, shape)
  }

  /** This module's own tensor as float32. */
  parameter(name: string, shape: readonly number[]): Value {
    return this.float(this.weight(name, shape))
  }

  /** The value as float32: a `Cast` where it is anything else. */
  float(value: Value): Value {
    return value.dtype === 'F32' ? value : this.cast(value, 'F32')
  }

  /** The value as another element type. */
  cast(value: Value, dtype: Dtype): Value {
    return this.op('Cast', [value], { to: BigInt(dataTypeOf(dtype)) }, { dtype })
  }

  /** One node with one output: of the type and dimensions of the first input, unless `result` says otherwise. */
  op(op: string, inputs: readonly (Value | undefined)[], attributes: Attributes = {}, result: Result = {}): Value {
    return this.ops(op, inputs, attributes, [result])[0]!
  }

  /** One node with several outputs. */
  ops(op: string, inputs: readonly (Value | undefined)[], attributes: Attributes, results: readonly Result[]): Value[] {
    const path = this.key === '' ? '' : `/${this.key.replaceAll('.', '/')}`
    return this.graph.node(path, op, inputs, attributes, results)
  }

  /** A list of 64-bit integers inside the graph, for the inputs of Reshape, Unsqueeze and the like. */
  integers(...values: number[]): Value {
    return this.graph.constant(`integers_${values.join('_')}`, 'I64', values, [values.length])
  }

  /** A 64-bit integer inside the graph. */
  integer(value: number): Value {
    return this.graph.constant(`integer_${value}`, 'I64', [value], [])
  }

  /** A float32 scalar inside the graph. */
  scalar(value: number): Value {
    return this.graph.constant(`scalar_${value}`, 'F32', [value], [])
  }
}

function valueInfo({ name, dtype, dims }: Value): ValueInfoProto {
  const dim = dims?.map((size) => ({
    value: typeof size === 'number' ? { case: 'dimValue' as const, value: BigInt(size) } : { case: 'dimParam' as const, value: size },
  }))
  const tensor = { elemType: dataTypeOf(dtype), ...(dim && { shape: { dim } }) }
  return create(ValueInfoProtoSchema, { name, type: { value: { case: 'tensorType', value: tensor } } })
}

function list(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`
}
