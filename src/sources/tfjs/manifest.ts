import { type Dtype, tensorBytes } from '../../core/dtypes.js'
import { AssetError } from '../../core/errors.js'
import { LIMITS } from '../../core/limits.js'
import { quoted } from '../../graph/names.js'

/** A weight of a model.json: its name there, and what its bytes are. */
export interface TfjsWeight {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly length: number
}

/** Shards whose bytes, one after the other, are those of the weights in their order. */
export interface TfjsGroup {
  readonly paths: readonly string[]
  readonly weights: readonly TfjsWeight[]
}

type Json = Readonly<Record<string, unknown>>

const DTYPES = new Map<unknown, Dtype>([
  ['float32', 'F32'],
  ['int32', 'I32'],
  ['bool', 'BOOL'],
])
const QUANTISED = new Map<unknown, Dtype>([
  ['uint8', 'U8'],
  ['uint16', 'U16'],
  ['float16', 'F16'],
])

/**
 * Reads the weightsManifest of a model.json. Quantised weights are what their bytes are, whole numbers or halves: scale and minimum stay in
 * model.json. Nothing is opened. Source: the types of tfjs-core's io.
 * @throws AssetError 'BAD_INPUT' | 'LIMIT', 'UNSUPPORTED' for texts and other weights that no fragment can hold
 */
export function readManifest(manifest: unknown, what: string): TfjsGroup[] {
  const refuse = (why: string) => new AssetError('BAD_INPUT', `Cannot read ${what}: ${why}`)
  if (!Array.isArray(manifest))
    throw refuse('it has no weightsManifest; name the model.json of a TensorFlow.js model, or a folder of weights')
  const groups = manifest.map((group): TfjsGroup => {
    const { paths, weights } = isObject(group) ? group : {}
    if (!isTexts(paths) || !Array.isArray(weights)) throw refuse('a group of its weightsManifest lacks paths or weights')
    return { paths, weights: weights.map((weight) => readWeight(weight, what)) }
  })
  const count = (of: (group: TfjsGroup) => number) => groups.reduce((sum, group) => sum + of(group), 0)
  if (count(({ paths }) => paths.length) > LIMITS.shards) throw tooMany(what, 'shards', LIMITS.shards)
  if (count(({ weights }) => weights.length) > LIMITS.tensors) throw tooMany(what, 'weights', LIMITS.tensors)
  return groups
}

function readWeight(weight: unknown, what: string): TfjsWeight {
  const { name, dtype, shape, quantization } = isObject(weight) ? weight : {}
  if (typeof name !== 'string' || name === '' || name.length > LIMITS.tensorName || !name.isWellFormed())
    throw new AssetError('BAD_INPUT', `Cannot read ${what}: a weight has no name of 1 to ${LIMITS.tensorName} characters`)
  const refuse = (why: string) => new AssetError('BAD_INPUT', `Cannot read ${what}: weight ${quoted(name)} ${why}`)
  if (!Array.isArray(shape) || shape.length > LIMITS.dimensions) throw refuse(`has no shape of at most ${LIMITS.dimensions} dimensions`)
  const stored = quantization === undefined ? DTYPES.get(dtype) : quantised(dtype, quantization, refuse)
  if (!stored)
    throw new AssetError(
      'UNSUPPORTED',
      `Cannot read ${what}: weight ${quoted(name)} is of ${dtypeShown(dtype)}; fragments hold float32, int32 and bool, save the model without it`,
    )
  const length = tensorBytes(stored, shape)
  if (length === undefined) throw refuse(`has the shape ${quoted(JSON.stringify(shape))}, which no weight can have`)
  return { name, dtype: stored, shape, length }
}

/** What a quantised weight is kept as. */
function quantised(dtype: unknown, quantization: unknown, refuse: (why: string) => AssetError): Dtype {
  const { dtype: kept, scale, min } = isObject(quantization) ? quantization : {}
  const stored = QUANTISED.get(kept)
  if (!stored) throw refuse('is quantised to what is none of uint8, uint16 and float16')
  if (dtype !== 'float32' && (stored === 'F16' || dtype !== 'int32')) throw refuse(`is of ${dtypeShown(dtype)}, quantised to ${kept}`)
  if (stored !== 'F16' && !(Number.isFinite(scale) && Number.isFinite(min)))
    throw refuse('is quantised without a scale and a min that are numbers')
  return stored
}

function dtypeShown(dtype: unknown): string {
  return (JSON.stringify(dtype) ?? 'no dtype').slice(0, 80)
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}

function tooMany(what: string, of: string, limit: number): AssetError {
  return new AssetError('LIMIT', `Cannot read ${what}: it names more than ${limit} ${of}`)
}
