import { type Dtype, tensorBytes } from '../core/dtypes.js'
import { AssetError } from '../core/errors.js'
import type { Dim, Module, Value } from './build.js'
import { type CompactPart, storedCompact, unpacked } from './compact.js'
import { dataTypeOf } from './elements.js'
import { TensorProto_DataType as DataType } from './generated/onnx_pb.js'
import { shown } from './names.js'
import type { WeightRef } from './weights.js'

// Weights that are whole numbers: `X` as I8 (rows, inputs), or as U8 (rows, inputs / 2) that holds INT4, two a byte, the low
// nibble first; and `X_scale` (rows, inputs / 32), by which each block of 32 inputs is multiplied.

/** Inputs of a row that share a scale. */
export const BLOCK_SIZE = 32

const SCALES: readonly Dtype[] = ['F16', 'BF16', 'F32']

interface Blocks {
  readonly weight: Value
  readonly scale: Value
}

/** A module's matrix (rows, inputs) as float32, whichever way it is stored. */
export function matrix(module: Module, name: string, shape: readonly [number, number]): Value {
  return lowBitMatrix(module, name, shape) ?? module.parameter(name, shape)
}

/** The same of a matrix that is stored in few bits; undefined for one that is not. */
export function lowBitMatrix(module: Module, name: string, shape: readonly [number, number]): Value | undefined {
  const compact = storedCompact(module, name, shape)
  if (compact) return unpacked(module, compact, compact.parts)
  const blocks = storedBlocks(module, name, shape)
  return blocks && dequantised(module, blocks.weight, module.float(blocks.scale), 1n)
}

/** The rows of a module's table (rows, width) that ids (...) name as float32 (..., width): picked as stored, so only they are read. */
export function tableRows(module: Module, name: string, shape: readonly [number, number], ids: Value): Value {
  const pick = (table: Value, width: number) => {
    const dims: Dim[] | undefined = ids.dims && [...ids.dims, width]
    return module.op('Gather', [table, ids], { axis: 0n }, { dims })
  }
  const [, width] = shape
  const compact = storedCompact(module, name, shape)
  if (compact) {
    const rows = [...compact.parts].map(([part, table]): [CompactPart, Value] => [part, pick(table, Number(table.dims!.at(-1)))])
    return unpacked(module, compact, new Map(rows))
  }
  const blocks = storedBlocks(module, name, shape)
  if (!blocks) return module.float(pick(module.weight(name, shape), width))
  return dequantised(module, pick(blocks.weight, width), module.float(pick(blocks.scale, width / BLOCK_SIZE)), -1n)
}

function dequantised(module: Module, weight: Value, scale: Value, axis: bigint): Value {
  return module.op('DequantizeLinear', [weight, scale], { axis, block_size: BigInt(BLOCK_SIZE) }, { dtype: 'F32', dims: weight.dims })
}

/** The parts of a matrix of whole numbers; undefined where it is stored as floats. @throws AssetError 'BAD_INPUT' | 'UNSUPPORTED' */
function storedBlocks(module: Module, name: string, [rows, inputs]: readonly [number, number]): Blocks | undefined {
  const { graph } = module
  const { name: key, ref } = graph.stored(module.child(name).key)
  if (ref?.dtype !== 'I8' && ref?.dtype !== 'U8') return undefined
  const bits = ref.dtype === 'I8' ? 8 : 4
  const scale = graph.stored(`${key}_scale`).ref
  if (!scale)
    throw new AssetError(
      'BAD_INPUT',
      `Cannot build the graph: tensor ${shown(key)} is of ${ref.dtype}, but its scales ${shown(`${key}_scale`)} are missing`,
    )
  if (graph.stored(`${key}_zero_point`).ref)
    throw new AssetError(
      'UNSUPPORTED',
      `Cannot build the graph: tensor ${shown(key)} has zero points, only whole numbers around zero are supported`,
    )
  if (inputs % BLOCK_SIZE !== 0)
    throw new AssetError(
      'BAD_INPUT',
      `Cannot build the graph: a row of tensor ${shown(key)} has ${inputs} inputs, which are no blocks of ${BLOCK_SIZE}`,
    )
  check(key, ref, [rows, (inputs * bits) / 8])
  check(`${key}_scale`, scale, [rows, inputs / BLOCK_SIZE])
  if (!SCALES.includes(scale.dtype))
    throw new AssetError(
      'UNSUPPORTED',
      `Cannot build the graph: tensor ${shown(`${key}_scale`)} is of ${scale.dtype}; use scales of ${SCALES.join(', ')}`,
    )
  return {
    weight: graph.external(key, ref, bits === 8 ? DataType.INT8 : DataType.INT4, [rows, inputs]),
    scale: graph.external(`${key}_scale`, scale, dataTypeOf(scale.dtype), scale.shape),
  }
}

function check(name: string, { dtype, shape, length }: WeightRef, wanted: readonly number[]): void {
  if (shape.join() !== wanted.join())
    throw new AssetError(
      'BAD_INPUT',
      `Cannot build the graph: tensor ${shown(name)} has the shape [${shape.join(', ')}], expected [${wanted.join(', ')}]`,
    )
  if (length !== tensorBytes(dtype, shape))
    throw new AssetError('BAD_INPUT', `Cannot build the graph: tensor ${shown(name)} has ${length} bytes`)
}
