import { formatBytes } from '../core/bytes.js'
import { AssetError } from '../core/errors.js'
import { PAGE } from '../core/limits.js'

/** Bytes of all rows of a matrix, one after the other in a fragment. */
export interface RowRun {
  readonly rowBytes: number
  /** the first byte in its fragment */
  readonly offset: number
}

/** A matrix as a pass uses it: its weights, and a second run where blocks of them have scales, which are read with their rows. */
export interface MatrixUse {
  readonly name: string
  readonly rows: number
  readonly runs: readonly [RowRun] | readonly [RowRun, RowRun]
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
  /** each matrix as tiles, in the order of its rows */
  readonly tiles: ReadonlyMap<string, readonly Tile[]>
  /** vectors and pinned tiles */
  readonly pinnedBytes: number
  /** read from disk for every pass */
  readonly bytesPerPass: number
  /** memory for streamed tiles: slots, each for any one of them in whole pages */
  readonly slots: number
  readonly slotBytes: number
}

// One in use, one ready, and as many in flight as keep a disk busy.
const SLOTS = 8
const FEWEST_SLOTS = 3
const TILE = 1024 * 1024

/**
 * Cuts the matrices of a pass, in the order of their first use, into tiles of whole rows, about 1 MiB or less where the
 * budget is small, and chooses which stay pinned. A pass over a dense model is a cyclic scan, so any choice of C of N
 * bytes saves C of N; pinned tiles are spread evenly among the streamed ones, so that the disk never rests. `uses` lists
 * a matrix once for each use in a pass, `vectorBytes` are always in memory. Pure.
 * @throws AssetError 'BUDGET_TOO_SMALL', naming the minimum
 */
export function planTiles(uses: readonly MatrixUse[], vectorBytes: number, budget: number): TilePlan {
  const matrices = [...new Map(uses.map((use) => [use.name, use])).values()]
  const all = matrixBytes(matrices)
  const total = vectorBytes + all
  const smallest = Math.max(0, ...matrices.map((matrix) => slotOf(matrix, tileRows(matrix, PAGE))))
  const minimum = Math.min(total, vectorBytes + FEWEST_SLOTS * smallest)
  if (budget < minimum) {
    throw new AssetError(
      'BUDGET_TOO_SMALL',
      `Cannot run within ${formatBytes(budget)} of memory: the small tensors, a tile in use and its read-ahead need ${formatBytes(minimum)}; give at least ${minimum} bytes`,
    )
  }
  const plan = { budget, minimum, total }
  if (total <= budget) {
    const tiles = new Map(matrices.map((matrix) => [matrix.name, cut(matrix, TILE, () => true)]))
    return { ...plan, tiles, pinnedBytes: total, bytesPerPass: 0, slots: 0, slotBytes: 0 }
  }
  const room = budget - vectorBytes
  // A quarter of a small budget for what streams, so that pinning the rest still pays.
  const size = Math.min(TILE, Math.max(PAGE, Math.floor(room / 4 / SLOTS)))
  const slotBytes = Math.max(...matrices.map((matrix) => slotOf(matrix, tileRows(matrix, size))))
  const slots = Math.max(FEWEST_SLOTS, Math.min(SLOTS, Math.floor(room / 2 / slotBytes)))
  const pin = evenly((room - slots * slotBytes) / all, room - slots * slotBytes)
  const tiles = new Map(matrices.map((matrix) => [matrix.name, cut(matrix, size, (rows) => pin(rows * bytesOfRow(matrix)))]))
  const bytesOf = (use: MatrixUse, pinned: boolean) =>
    sum(tiles.get(use.name)!.map((tile) => (tile.pinned === pinned ? tile.rows * bytesOfRow(use) : 0)))
  const pinnedBytes = vectorBytes + sum(matrices.map((matrix) => bytesOf(matrix, true)))
  return { ...plan, tiles, pinnedBytes, bytesPerPass: sum(uses.map((use) => bytesOf(use, false))), slots, slotBytes }
}

/** Bytes of all matrices among these, each once. */
export function matrixBytes(uses: readonly MatrixUse[]): number {
  return sum([...new Map(uses.map((use) => [use.name, use])).values()].map((use) => use.rows * bytesOfRow(use)))
}

/** Bytes of one row, with its scales. */
function bytesOfRow({ runs }: MatrixUse): number {
  return sum(runs.map(({ rowBytes }) => rowBytes))
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

/** Rows that make about `size` bytes, on page boundaries where the rows allow that: of the scales too, or of the weights alone. */
function tileRows(matrix: MatrixUse, size: number): number {
  const { rows, runs } = matrix
  const wanted = Math.max(1, Math.floor(size / bytesOfRow(matrix)))
  // powers of two, so the largest is a multiple of the others
  const steps = runs.map(({ rowBytes }) => PAGE / gcd(PAGE, rowBytes))
  const aligned = [Math.max(...steps), steps[0]!].find((step) => step <= wanted) ?? 1
  return Math.min(rows, wanted - (wanted % aligned))
}

function cut(matrix: MatrixUse, size: number, isPinned: (rows: number) => boolean): Tile[] {
  const step = tileRows(matrix, size)
  return Array.from({ length: Math.ceil(matrix.rows / step) }, (_, at) => {
    const rows = Math.min(step, matrix.rows - at * step)
    return { rows, pinned: isPinned(rows) }
  })
}

/** Bytes of whole pages that the largest tile of a matrix needs. */
function slotOf({ rows, runs }: MatrixUse, step: number): number {
  let most = 0
  // The offset of a tile within its page repeats after at most so many tiles.
  for (let at = 0; at < Math.min(rows, PAGE * step); at += step) {
    const pages = runs.map(({ offset, rowBytes }) => {
      const start = offset + at * rowBytes
      const end = start + Math.min(step, rows - at) * rowBytes
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
