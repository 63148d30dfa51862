import { type Dtype, dtypeSize, tensorBytes } from '../../core/dtypes.js'
import { AssetError } from '../../core/errors.js'
import { bitsOf, dtypeOf } from '../../graph/elements.js'
import { externalData } from '../../graph/external.js'
import { TensorProto_DataType as DataType, type GraphProto, type TensorProto } from '../../graph/generated/onnx_pb.js'
import { shown } from '../../graph/names.js'
import type { SourceFile, TensorRef } from '../checkpoint.js'
import { sameBytes } from '../same-bytes.js'
import { stridedOf } from '../strided.js'
import { isOutside, Names } from './hoist.js'
import { type Origin, Uses } from './origins.js'
import { notedKeys } from './scopes.js'

/** A tensor of this many bytes or fewer stays in the graph, where it is no tensor of the state dict: it is a shape, an axis, a factor. */
export const SMALL = 4096
/** The module of what has none. */
const NOWHERE = '@graph'

const COUNTS: readonly number[] = [DataType.INT32, DataType.INT64, DataType.BOOL]

/** A tensor of the state dict, and what ONNX calls its type and shape, which may be others where safetensors lacks the type. */
export interface StateTensor {
  readonly ref: TensorRef
  readonly dataType: number
  readonly dims: readonly bigint[]
}

/** A model as a state dict: its tensors by key, and what each initializer is; one that is not in here stays in the graph. */
export interface OnnxStateDict {
  readonly tensors: ReadonlyMap<string, StateTensor>
  readonly origins: ReadonlyMap<string, Origin>
}

/**
 * Gives every initializer of a graph its key in the state dict. One that has the name of a tensor there is that tensor,
 * as it is. One that the exporter made is named by the module that uses it, and turned back where it was turned, so that
 * its bytes are those of the checkpoint that it came from. What has no module is in one of its own. `called` says what
 * initializers were called before they were hoisted, `placeOf` gives the file that one lies in.
 */
export async function stateDictOf(
  graph: GraphProto,
  called: ReadonlyMap<string, string>,
  placeOf: (tensor: TensorProto) => Promise<SourceFile>,
): Promise<OnnxStateDict> {
  const claims = new Claims(new Names(graph))
  const [noted, uses] = [notedKeys(graph), new Uses(graph)]
  const outside = graph.initializer.filter(isOutside)
  const isOwn = (name: string) => (noted ? noted.has(name) : isOwnName(name))
  const later: TensorProto[] = []
  // Tensors with names of their own first: what a module would call another one may be the name of one of them.
  for (const tensor of outside) {
    const name = called.get(tensor.name) ?? tensor.name
    const own = isOwn(name) && (noted !== undefined || isWeight(tensor, name) || isLarge(tensor))
    if (!own || uses.isScale(tensor)) later.push(tensor)
    else if (!(await claims.take(tensor, { key: keyOf(name), is: 'itself' }, await placeOf(tensor)))) later.push(tensor)
  }
  for (const tensor of later) {
    const file = await placeOf(tensor)
    const origin = uses.isScale(tensor) ? undefined : uses.originOf(tensor)
    if (origin && (await claims.take(tensor, origin, file))) continue
    if (!isLarge(tensor)) continue
    for (let n = 0; ; n++) {
      const key = `${NOWHERE}.${called.get(tensor.name) ?? tensor.name}${n === 0 ? '' : `_${n}`}`
      if (await claims.take(tensor, { key, is: 'itself' }, file)) break
    }
  }
  return claims
}

/** False for the names that exporters make up. */
function isOwnName(name: string): boolean {
  return !(name.startsWith('/') || name.includes('::') || /^(_?(val|const|constant|tensor)_?)?\d+$/i.test(name))
}

/** Keys of TensorFlow have slashes between modules. */
function keyOf(name: string): string {
  return name.includes('.') ? name : name.replaceAll(/\/+/g, '.')
}

/** Tells a tensor of a module from a number in the graph that has a plain name too. */
function isWeight({ dataType, dims }: TensorProto, name: string): boolean {
  return dims.length >= 2 || (/[./]/.test(name) && !COUNTS.includes(dataType))
}

function isLarge(tensor: TensorProto): boolean {
  return externalData(tensor)!.length > SMALL
}

/** Keys and who has them. */
class Claims implements OnnxStateDict {
  readonly tensors = new Map<string, StateTensor>()
  readonly origins = new Map<string, Origin>()

  constructor(private readonly names: Names) {}

  /** Makes an initializer what `origin` says; false where a key is taken by other bytes, or by a value of the graph. */
  async take(tensor: TensorProto, origin: Origin, file: SourceFile): Promise<boolean> {
    const wanted = tensorsOf(tensor, origin, file)
    for (const [key, found] of wanted) if (!(await this.isFree(key, found, tensor.name))) return false
    for (const [key, found] of wanted) if (!this.tensors.has(key)) this.tensors.set(key, found)
    this.origins.set(tensor.name, origin)
    return true
  }

  private async isFree(key: string, { ref, dataType, dims }: StateTensor, name: string): Promise<boolean> {
    const known = this.tensors.get(key)
    if (!known) return key === name || !this.names.has(key)
    return known.dataType === dataType && known.dims.join() === dims.join() && sameBytes(known.ref, ref)
  }
}

/** The tensors of the state dict that an initializer is or holds. @throws AssetError 'UNSUPPORTED' */
function tensorsOf(tensor: TensorProto, origin: Origin, file: SourceFile): [string, StateTensor][] {
  const { dataType, dims, name } = tensor
  const { offset, length } = externalData(tensor)!
  if (origin.is === 'itself') {
    const { dtype, shape } = storedAs(tensor, length)
    return [[origin.key, { ref: { file, offset, length, dtype, shape }, dataType, dims }]]
  }
  const dtype = dtypeOf(dataType)
  if (!dtype) throw new AssetError('UNSUPPORTED', `Cannot read the ONNX graph: tensor ${shown(name)} is of type ${dataType}`)
  const one = dtypeSize(dtype)
  const refOf = (shape: readonly number[], at: number, strided: TensorRef['strided']): StateTensor => ({
    ref: { file, offset: at, length: tensorBytes(dtype, shape)!, dtype, shape, ...(strided && { strided }) },
    dataType,
    dims: shape.map(BigInt),
  })
  if (origin.is === 'transpose') {
    const [inputs, outputs] = dims.map(Number) as [number, number]
    return [[origin.key, refOf([outputs, inputs], offset, stridedOf([outputs, inputs], [1, outputs], one))]]
  }
  return origin.directions.flat().map(({ key, shape, starts, size }) => {
    const runs = { unit: size * one, counts: [], steps: [], starts: starts.map((start) => start * one) }
    return [key, refOf(shape, offset, length > 0 ? runs : undefined)]
  })
}

/** How safetensors has a tensor: types that it lacks as bytes, two of 4 bits in one along the last dimension. */
function storedAs({ dataType, dims, name }: TensorProto, length: number): { dtype: Dtype; shape: number[] } {
  const [dtype, bits, shape] = [dtypeOf(dataType), bitsOf(dataType), dims.map(Number)]
  if (dtype) return { dtype, shape }
  if (bits === 8) return { dtype: 'U8', shape }
  const last = shape.at(-1) ?? 1
  if (bits === 4) return { dtype: 'U8', shape: last % 2 === 0 ? [...shape.slice(0, -1), last / 2] : [length] }
  throw new AssetError(
    'UNSUPPORTED',
    `Cannot read the ONNX graph: tensor ${shown(name)} is of type ${dataType}, which no fragment can hold`,
  )
}
