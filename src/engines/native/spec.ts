import { AssetError } from '../../core/errors.js'
import type { GraphIndex, Weight } from '../../graph/cut.js'
import { TensorProto_DataType as DataType } from '../../graph/generated/onnx_pb.js'
import { shown } from '../../graph/names.js'
import { type DividedPlan, divideBudget } from '../../plan/budget.js'
import { NO_CACHE } from '../../plan/cache.js'
import type { WeightUse } from '../../plan/pinned.js'
import { type MatrixUse, planTiles, type RowRun, type TileNeeds, tileBounds, wholeTiles } from '../../plan/tiles.js'
import type { Exactness } from './exactness.js'
import type { Program, ProgramSegment } from './program.js'

const DTYPES = new Map<number, string>([
  [DataType.FLOAT, 'F32'],
  [DataType.FLOAT16, 'F16'],
  [DataType.BFLOAT16, 'BF16'],
  [DataType.INT8, 'I8'],
  [DataType.INT4, 'I4'],
])

/** A fragment as the native engine opens it. */
export interface NativeFile {
  /** the content: models whose files have the same key share what stays in memory */
  readonly key: string
  readonly path: string
  readonly size: number
  /** where it is linked: its data, from byte `begin` of it on, is what is at byte `offset` of a file of `size` bytes */
  readonly linked?: { readonly begin: number; readonly offset: number; readonly size: number }
  /** where the checksums of its pages begin in the table of all */
  readonly firstSum: number
}

/** What a program needs of the weights: the matrices of a pass in order, once for each use, and all small weights as float32. */
export function needsOf(index: GraphIndex, program: Program): TileNeeds {
  const uses = program.segments.flatMap((segment) => usesOf(index, program, segment))
  return { uses: uses.filter(({ name }) => !program.cached.has(name)), vectorBytes: vectorBytes(index, program.vectors) }
}

/** Its matrices that not every pass needs, each with its scales. */
export function cachedUses(index: GraphIndex, program: Program): WeightUse[][] {
  return [...program.cached].map((name) => {
    const { rows, rowBytes, scales } = useOf(index, program, name)
    return [{ name, length: rows * (rowBytes + (scales?.rowBytes ?? 0)), matrix: true }]
  })
}

/** The same of one of its segments. */
export function segmentNeeds(index: GraphIndex, program: Program, segment: ProgramSegment): TileNeeds {
  const vectors = segment.nodes.flatMap(({ run }) => (run.op === 'vector' ? [program.vectors[run.index]!] : []))
  return { uses: usesOf(index, program, segment), vectorBytes: vectorBytes(index, [...new Set(vectors)]) }
}

function usesOf(index: GraphIndex, program: Program, { nodes }: ProgramSegment): MatrixUse[] {
  return nodes.flatMap(({ run }) =>
    run.op === 'linear' || run.op === 'conv1d' ? [useOf(index, program, program.matrices[run.weight]!)] : [],
  )
}

function vectorBytes(index: GraphIndex, names: readonly string[]): number {
  const elements = names.map((name) => index.weights.get(name)!.tensor.dims.reduce((product, dim) => product * Number(dim), 1))
  return elements.reduce((sum, count) => sum + count * 4, 0)
}

function useOf(index: GraphIndex, program: Program, name: string): MatrixUse {
  const rows = Number(index.weights.get(name)!.tensor.dims[0])
  const runOf = (weight: string): RowRun => {
    const { length, offset } = index.weights.get(weight)!.data
    return { rowBytes: length / rows, offset }
  }
  const scale = program.scales.get(name)
  return { name, rows, ...runOf(name), ...(scale !== undefined && { scales: runOf(scale) }) }
}

/** The memory of a program that is alone: bytes of the whole budget, the tiles, and the matrices that not every pass needs. */
export type ProgramPlan = Pick<DividedPlan, 'budget' | 'minimum' | 'total' | 'tiles' | 'cache'>

/** Plans it within the budget that `budgetOf` gives for the bytes of all its weights. @throws AssetError 'BUDGET_TOO_SMALL' */
export function planProgram(index: GraphIndex, program: Program, budgetOf: (total: number) => number): ProgramPlan {
  const needs = needsOf(index, program)
  if (program.cached.size > 0) return divideBudget({ segments: [], cached: cachedUses(index, program) }, needs, budgetOf)
  const tiles = planTiles(needs.uses, needs.vectorBytes, budgetOf(tileBounds(needs).total))
  return { ...tiles, tiles, cache: NO_CACHE }
}

/** The plan as the addon reads it: native/core/src/model/spec.rs. `files` are the fragments by their place in the asset; `trace` has all that happens recorded. */
export function specText(
  index: GraphIndex,
  program: Program,
  { tiles: plan, cache }: Pick<ProgramPlan, 'tiles' | 'cache'>,
  files: ReadonlyMap<string, NativeFile>,
  {
    precision,
    kvCache,
    map = false,
    trace = false,
  }: Exactness & { readonly map?: boolean | undefined; readonly trace?: boolean | undefined },
): string {
  const places = new Map([...files.keys()].map((location, at) => [location, at]))
  const stored = (name: string) => {
    const { tensor, data } = index.weights.get(name) as Weight
    const dtype = DTYPES.get(tensor.dataType)
    if (!dtype)
      throw new AssetError('UNSUPPORTED', `Cannot run the graph natively: weight ${shown(name)} is of ONNX element type ${tensor.dataType}`)
    return { file: places.get(data.location), offset: data.offset, dtype, dims: tensor.dims.map(Number) }
  }
  const { caches, scales } = program
  const scaleOf = (name: string) => {
    const scale = scales.get(name)
    return scale === undefined ? {} : { scales: stored(scale), scalesPinned: plan.scalesPinned && plan.tiles.has(name) }
  }
  const tilesOf = (name: string) => {
    if (!program.cached.has(name)) return { tiles: plan.tiles.get(name) ?? [] }
    // Nothing is cached of what is mapped.
    return { cached: !map, tiles: wholeTiles(useOf(index, program, name), map) }
  }
  return JSON.stringify({
    files: [...files.values()],
    vectors: program.vectors.map(stored),
    weights: program.matrices.map((name) => ({ stored: stored(name), ...scaleOf(name), ...tilesOf(name) })),
    cache: map ? 0 : cache.budget,
    caches,
    segments: program.segments.map(({ head = null, ...segment }) => ({ ...segment, head })),
    slots: plan.slots,
    map,
    trace,
    kvCache,
    precision,
  })
}
