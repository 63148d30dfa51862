import { AssetError } from '../../core/errors.js'
import type { GraphIndex, Weight } from '../../graph/cut.js'
import { TensorProto_DataType as DataType } from '../../graph/generated/onnx_pb.js'
import { shown } from '../../graph/names.js'
import { type MatrixUse, planTiles, type TilePlan } from '../../plan/tiles.js'
import type { Program } from './program.js'

const DTYPES = new Map<number, { name: string; bytes: number }>([
  [DataType.FLOAT, { name: 'F32', bytes: 4 }],
  [DataType.FLOAT16, { name: 'F16', bytes: 2 }],
  [DataType.BFLOAT16, { name: 'BF16', bytes: 2 }],
])

/** A fragment as the native engine opens it. */
export interface NativeFile {
  /** the content: models whose files have the same key share what stays in memory */
  readonly key: string
  readonly path: string
  readonly size: number
  /** where the checksums of its pages begin in the table of all */
  readonly firstSum: number
}

/** The matrices of a pass in order, once for each use. */
function usesOf(index: GraphIndex, program: Program): MatrixUse[] {
  return program.nodes.flatMap(({ run }) => {
    if (run.op !== 'linear' && run.op !== 'conv1d') return []
    const name = program.matrices[run.weight]!
    const { tensor, data } = index.weights.get(name)!
    const rows = Number(tensor.dims[0])
    return [{ name, rows, rowBytes: data.length / rows, offset: data.offset }]
  })
}

/** Bytes that the small weights take as float32. */
function vectorBytes(index: GraphIndex, program: Program): number {
  const elements = program.vectors.map((name) => index.weights.get(name)!.tensor.dims.reduce((product, dim) => product * Number(dim), 1))
  return elements.reduce((sum, count) => sum + count * 4, 0)
}

/** Plans the memory of a program within the budget that `budgetOf` gives for the bytes of all its weights. @throws AssetError 'BUDGET_TOO_SMALL' */
export function planProgram(index: GraphIndex, program: Program, budgetOf: (total: number) => number): TilePlan {
  const uses = usesOf(index, program)
  const vectors = vectorBytes(index, program)
  const total = vectors + [...new Map(uses.map((use) => [use.name, use])).values()].reduce((sum, use) => sum + use.rows * use.rowBytes, 0)
  return planTiles(uses, vectors, budgetOf(total))
}

/** The plan as the addon reads it: native/core/src/model/spec.rs. `files` are the fragments by their place in the asset. */
export function specText(index: GraphIndex, program: Program, plan: TilePlan, files: ReadonlyMap<string, NativeFile>): string {
  const places = new Map([...files.keys()].map((location, at) => [location, at]))
  const stored = (name: string) => {
    const { tensor, data } = index.weights.get(name) as Weight
    const dtype = DTYPES.get(tensor.dataType)
    if (!dtype)
      throw new AssetError('UNSUPPORTED', `Cannot run the graph natively: weight ${shown(name)} is of ONNX element type ${tensor.dataType}`)
    return { file: places.get(data.location), offset: data.offset, dtype: dtype.name, dims: tensor.dims.map(Number) }
  }
  const { values, nodes, inputs, outputs, caches, head } = program
  return JSON.stringify({
    files: [...files.values()],
    vectors: program.vectors.map(stored),
    weights: program.matrices.map((name) => ({ stored: stored(name), tiles: plan.tiles.get(name) ?? [] })),
    caches,
    values,
    inputs,
    outputs,
    nodes,
    head: head ?? null,
    slots: plan.slots,
  })
}
