import { AssetError } from '../core/errors.js'
import { PAGE } from '../core/limits.js'
import { tooSmall } from './too-small.js'

/** Whole rows, one after the other in a fragment. */
export interface RowRun {
  readonly rowBytes: number
  /** the first byte in its fragment */
  readonly offset: number
}

/** A matrix as a pass uses it; the scales of its blocks, where it has any, are in memory or read with their rows. */
export interface MatrixUse extends RowRun {
  readonly name: string
  readonly rows: number
  readonly scales?: RowRun
}

/** What the native engine needs of the weights in a pass: a matrix once for each use, and the bytes of what is always in memory. */
export interface TileNeeds {
  readonly uses: readonly MatrixUse[]
  readonly vectorBytes: number
}

/** Rows of a matrix that are leased, pinned or streamed together. */
export interface Tile {
  readonly rows: number
  readonly pinned: boolean
}

/** What stays in memory, what streams, and what that costs; bytes throughout. */
export interface TilePlan {
  readonly budget: number
  /** the smallest budget that would do */
  readonly minimum: number
  /** all weights, each once */
  readonly total: number
  /** scales stay in memory whatever becomes of their tiles; else they are read with them */
  readonly scalesPinned: boolean
  /** each matrix as tiles, in the order of its rows */
  readonly tiles: ReadonlyMap<string, readonly Tile[]>
  /** vectors, pinned tiles, and scales where they are pinned */
  readonly pinnedBytes: number
  /** read from disk for every pass */
  readonly bytesPerPass: number
  /** memory for streamed tiles: slots, each for any one of them in whole pages */
  readonly slots: number
  readonly slotBytes: number
}

// One in use (half of them in a prompt), one ready, and as many in flight as keep a disk busy.
const SLOTS = 8
const FEWEST_SLOTS = 3
const TILE = 1024 * 1024
// A terabyte of the largest.
const TILES = 2 ** 20

/**
 * Cuts the matrices of a pass, in the order of their first use, into tiles of whole rows, about 1 MiB or less where the
 * budget is small, and chooses which stay pinned. A pass over a dense model is a cyclic scan, so any choice of C of N
 * bytes saves C of N; pinned tiles are spread evenly among the streamed ones, so that the disk never rests. `uses` lists
 * a matrix once for each use in a pass, `vectorBytes` are always in memory. Pure.
 *
 * Scales are pinned first where they leave a quarter of the room: a tile is one read then instead of two, and a read of
 * 64 KiB takes a virtual disk a fifth of the time of one of 1 MiB.
 * @throws AssetError 'BUDGET_TOO_SMALL', naming the minimum
 */
export function planTiles(uses: readonly MatrixUse[], vectorBytes: number, budget: number): TilePlan {
  const { total, minimum } = tileBounds({ uses, vectorBytes })
  if (budget < minimum) throw tooSmall(budget, minimum, 'the small tensors, a tile in use and its read-ahead')
  const bounds = { budget, minimum, total }
  if (total <= budget) {
    const tiles = cutAll(eachOnce(uses), TILE, () => true)
    return { ...bounds, scalesPinned: false, tiles, pinnedBytes: total, bytesPerPass: 0, slots: 0, slotBytes: 0 }
  }
  const scaleBytes = sum(eachOnce(uses).map(({ rows, scales }) => rows * (scales?.rowBytes ?? 0)))
  const bare: TileNeeds = { uses: uses.map(({ scales, ...use }) => use), vectorBytes: vectorBytes + scaleBytes }
  const scalesPinned = scaleBytes > 0 && budget - bare.vectorBytes >= (budget - vectorBytes) / 4 && tileBounds(bare).minimum <= budget
  return { ...bounds, scalesPinned, ...streaming(scalesPinned ? bare : { uses, vectorBytes }, budget) }
}

/** A matrix that is read as a whole, cut as it is where all of it is pinned. */
export function wholeTiles(use: MatrixUse, pinned: boolean): readonly Tile[] {
  return cut(use, tileRows(use, TILE), () => pinned)
}

/** What of matrices that don't fit stays in memory. */
function streaming({ uses, vectorBytes }: TileNeeds, budget: number) {
  const matrices = eachOnce(uses)
  const room = budget - vectorBytes
  // A quarter of a small budget for what streams, so that pinning the rest still pays.
  const size = Math.min(TILE, Math.max(PAGE, Math.floor(room / 4 / SLOTS)))
  const slotBytes = slotFor(matrices, size)
  const slots = Math.max(FEWEST_SLOTS, Math.min(SLOTS, Math.floor(room / 2 / slotBytes)))
  const pin = evenly((room - slots * slotBytes) / matrixBytes(matrices), room - slots * slotBytes)
  const tiles = cutAll(matrices, size, pin)
  const pinned = new Map(matrices.map((matrix) => [matrix.name, pinnedRows(tiles.get(matrix.name)!) * bytesOfRow(matrix)]))
  const pinnedBytes = vectorBytes + sum([...pinned.values()])
  const bytesPerPass = sum(uses.map((use) => use.rows * bytesOfRow(use) - pinned.get(use.name)!))
  return { tiles, pinnedBytes, bytesPerPass, slots, slotBytes }
}

/** The bytes of all weights, each once, and the smallest budget that would do. */
export function tileBounds({ uses, vectorBytes }: TileNeeds): { readonly total: number; readonly minimum: number } {
  const total = vectorBytes + matrixBytes(uses)
  return { total, minimum: Math.min(total, vectorBytes + FEWEST_SLOTS * slotFor(eachOnce(uses), PAGE)) }
}

/** Bytes of all matrices among these, each once. */
function matrixBytes(uses: readonly MatrixUse[]): number {
  return sum(eachOnce(uses).map((use) => use.rows * bytesOfRow(use)))
}

function eachOnce(uses: readonly MatrixUse[]): MatrixUse[] {
  return [...new Map(uses.map((use) => [use.name, use])).values()]
}

/** Bytes of one row, with its scales. */
function bytesOfRow({ rowBytes, scales }: MatrixUse): number {
  return rowBytes + (scales?.rowBytes ?? 0)
}

/** Says of one run of bytes after the other whether it is in: about `share` of all of them, never more than `most`. */
function evenly(share: number, most: number): (bytes: number) => boolean {
  let owed = 0
  let taken = 0
  return (bytes) => {
    owed += bytes * share
    if (owed < bytes / 2 || taken + bytes > most) return false
    owed -= bytes
    taken += bytes
    return true
  }
}

/** Rows that make about `size` bytes, on page boundaries where the rows allow that: of the scales too, or else of the weights alone. */
function tileRows(matrix: MatrixUse, size: number): number {
  const { rows, rowBytes, scales } = matrix
  const wanted = Math.max(1, Math.floor(size / bytesOfRow(matrix)))
  const weights = PAGE / gcd(PAGE, rowBytes)
  // Powers of two, so the larger is a multiple of the other.
  const both = Math.max(weights, scales ? PAGE / gcd(PAGE, scales.rowBytes) : 1)
  const aligned = [both, weights].find((step) => step <= wanted) ?? 1
  return Math.min(rows, wanted - (wanted % aligned))
}

/** @throws AssetError 'LIMIT' for more tiles than anybody has matrices for */
function cutAll(matrices: readonly MatrixUse[], size: number, isPinned: (bytes: number) => boolean): Map<string, Tile[]> {
  const count = sum(matrices.map((matrix) => Math.ceil(matrix.rows / tileRows(matrix, size))))
  if (count > TILES)
    throw new AssetError('LIMIT', `Cannot plan the weights: they make ${count} tiles, at most ${TILES} are kept track of; give more memory`)
  return new Map(matrices.map((matrix) => [matrix.name, cut(matrix, tileRows(matrix, size), isPinned)]))
}

function cut(matrix: MatrixUse, step: number, isPinned: (bytes: number) => boolean): Tile[] {
  return Array.from({ length: Math.ceil(matrix.rows / step) }, (_, at) => {
    const rows = Math.min(step, matrix.rows - at * step)
    return { rows, pinned: isPinned(rows * bytesOfRow(matrix)) }
  })
}

function pinnedRows(tiles: readonly Tile[]): number {
  return sum(tiles.map(({ rows, pinned }) => (pinned ? rows : 0)))
}

/** Bytes of whole pages that any tile of about `size` bytes needs. */
function slotFor(matrices: readonly MatrixUse[], size: number): number {
  return matrices.reduce((most, matrix) => Math.max(most, slotOf(matrix, tileRows(matrix, size))), 0)
}

/** Bytes of whole pages that the largest tile of a matrix needs. */
function slotOf({ rows, rowBytes, offset, scales }: MatrixUse, step: number): number {
  const runs = scales ? [{ rowBytes, offset }, scales] : [{ rowBytes, offset }]
  let most = 0
  // After so many tiles, one begins at the same place of its page again, in both runs: powers of two.
  const period = Math.max(...runs.map((run) => PAGE / gcd(PAGE, step * run.rowBytes)))
  for (let at = 0; at < Math.min(rows, period * step); at += step) {
    const pages = runs.map((run) => {
      const start = run.offset + at * run.rowBytes
      const end = start + Math.min(step, rows - at) * run.rowBytes
      return Math.ceil(end / PAGE) * PAGE - Math.floor(start / PAGE) * PAGE
    })
    most = Math.max(most, sum(pages))
  }
  return most
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b)
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
