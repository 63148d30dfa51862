import { AssetError } from '../core/errors.js'
import { LIMITS } from '../core/limits.js'
import { bitsOf } from './elements.js'
import { TensorProto_DataLocation as DataLocation, TensorProto_DataType as DataType, type TensorProto } from './generated/onnx_pb.js'
import { quoted, shown } from './names.js'

/** Bytes of an initializer that lie in another file: `location` is a path relative to the graph's folder, with `/` between segments. */
export interface ExternalData {
  readonly location: string
  readonly offset: number
  readonly length: number
}

/**
 * Where an initializer's bytes are, or undefined when they are inside the graph. Nothing in it is trusted: the location
 * cannot leave the graph's folder, offset and length are safe integers, and length is that of the tensor's shape
 * (it is filled in where the graph leaves it out).
 * Source: TensorProto.external_data of the ONNX schema.
 * @throws AssetError 'BAD_INPUT'
 */
export function externalData(tensor: TensorProto): ExternalData | undefined {
  if (tensor.dataLocation !== DataLocation.EXTERNAL) return undefined
  const entries = new Map<string, string>()
  for (const { key, value } of tensor.externalData) {
    if (entries.has(key)) throw refusal(tensor, `its external data gives ${shown(key)} twice`)
    entries.set(key, value)
  }
  for (const key of entries.keys()) {
    if (!['location', 'offset', 'length', 'checksum'].includes(key))
      throw refusal(tensor, `its external data has the unknown key ${quoted(key)}`)
  }
  const location = entries.get('location')
  const problem = locationProblem(location)
  if (location === undefined || problem) throw refusal(tensor, `its external location ${quoted(location ?? '')} ${problem}`)
  const needed = dataBytes(tensor)
  const offset = decimal(tensor, 'offset', entries.get('offset') ?? '0')
  const length = decimal(tensor, 'length', entries.get('length') ?? String(needed))
  if (length !== needed) throw refusal(tensor, `its external length is ${length} bytes, its shape needs ${needed}`)
  if (!Number.isSafeInteger(offset + length)) throw refusal(tensor, 'its external data ends beyond 2^53')
  return { location, offset, length }
}

/**
 * Checks that a tensor has as much data as its shape and element type say, and returns nothing. Only where `outside` is
 * true may that data lie in a file: an engine that is given any other such tensor would open the file by itself.
 * @throws AssetError 'BAD_INPUT'
 */
export function checkTensor(tensor: TensorProto, outside = false): void {
  if (!outside && tensor.dataLocation === DataLocation.EXTERNAL)
    throw refusal(tensor, 'its data lies in a file, which only an initializer of the main graph may do')
  if (externalData(tensor)) return
  if (tensor.segment) throw refusal(tensor, 'it is stored in segments')
  const [found, needed] = [storedCount(tensor), neededCount(tensor)]
  if (found !== needed) throw refusal(tensor, `it holds ${found} bytes or elements, its shape needs ${needed}`)
}

/** What a tensor holds inside the graph: bytes of raw_data, else entries of the list for its type. */
function storedCount(tensor: TensorProto): number {
  if (tensor.dataType === DataType.STRING) return tensor.stringData.length
  if (tensor.rawData.length > 0) return tensor.rawData.length
  const lists = [tensor.floatData, tensor.int32Data, tensor.int64Data, tensor.doubleData, tensor.uint64Data]
  return lists.reduce((sum, list) => sum + list.length, 0)
}

function neededCount(tensor: TensorProto): number {
  const count = elementsOf(tensor)
  if (tensor.dataType === DataType.STRING) return count
  if (tensor.rawData.length > 0) return dataBytes(tensor)
  // Types below 32 bits share int32_data, those below 8 bits packed; a complex number is two entries.
  const bits = bitsOf(tensor.dataType) ?? 8
  const complex = tensor.dataType === DataType.COMPLEX64 || tensor.dataType === DataType.COMPLEX128
  return complex ? 2 * count : bits < 8 ? Math.ceil((count * bits) / 8) : count
}

/** Why a path may not be used as an external location; undefined for one that stays inside the folder. */
function locationProblem(location: string | undefined): string | undefined {
  if (!location) return 'is missing'
  if (location.includes('\0')) return 'has a NUL in it'
  if (location.includes('\\')) return 'has a backslash in it'
  if (location.startsWith('/') || /^[A-Za-z]:/.test(location)) return 'is not relative'
  if (location.split('/').some((segment) => segment === '' || segment === '.' || segment === '..'))
    return 'has an empty segment, "." or ".." in it'
  return undefined
}

function decimal(tensor: TensorProto, key: string, text: string): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value)) throw refusal(tensor, `its external ${key} ${quoted(text)} is not a byte count`)
  return value
}

function dataBytes(tensor: TensorProto): number {
  const count = elementsOf(tensor)
  const bits = bitsOf(tensor.dataType)
  if (bits === undefined) throw refusal(tensor, `its element type ${tensor.dataType} has no fixed size`)
  const bytes = Math.ceil((count * bits) / 8)
  if (!Number.isSafeInteger(count * bits)) throw refusal(tensor, 'its shape has more than 2^53 bits')
  return bytes
}

function elementsOf(tensor: TensorProto): number {
  if (tensor.dims.length > LIMITS.dimensions)
    throw refusal(tensor, `it has ${tensor.dims.length} dimensions, at most ${LIMITS.dimensions} are read`)
  let count = 1
  for (const dim of tensor.dims) {
    count *= Number(dim)
    if (dim < 0n || !Number.isSafeInteger(count)) throw refusal(tensor, `its shape [${tensor.dims.join(', ')}] is not a size`)
  }
  return count
}

function refusal(tensor: TensorProto, why: string): AssetError {
  return new AssetError('BAD_INPUT', `Cannot read the ONNX graph: tensor ${quoted(tensor.name)}: ${why}`)
}
