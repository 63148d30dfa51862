import { tooSmall } from './too-small.js'
import { Window } from './window.js'

/** A weight as one segment uses it; a matrix may stream, a vector is always pinned. */
export interface WeightUse {
  readonly name: string
  readonly length: number
  readonly matrix: boolean
}

/** What stays in memory, what streams, and what that costs; bytes throughout. */
export interface ResidencyPlan {
  readonly budget: number
  /** the smallest budget that would do */
  readonly minimum: number
  /** all weights that segments use, each once */
  readonly total: number
  readonly pinned: ReadonlySet<string>
  readonly pinnedBytes: number
  /** streamed weights in the order of one pass */
  readonly streamed: readonly WeightUse[]
  /** read from disk for every pass */
  readonly bytesPerPass: number
  /** memory for streamed weights: the one in use and those read ahead */
  readonly window: number
}

/**
 * Chooses what stays pinned within `budget` bytes. A pass over a dense model is a cyclic scan, where a least-recently-used
 * cache never hits: pinning C of N bytes saves C of N bytes a pass. Streamed weights are spread evenly among pinned
 * ones, so that the disk never rests. Pure.
 * @throws AssetError 'BUDGET_TOO_SMALL', naming the minimum
 */
export function planResidency(segments: readonly (readonly WeightUse[])[], budget: number): ResidencyPlan {
  const { unique, matrices, window, base, total, minimum } = needsOf(segments)
  if (budget < minimum) throw tooSmall(budget, minimum, 'the largest weight and its read-ahead')
  const streaming = total <= budget ? new Set<string>() : chooseStreamed(window, matrices, budget - base)
  const pinned = new Set([...unique.keys()].filter((name) => !streaming.has(name)))
  const streamed = segments.flat().filter(({ name }) => streaming.has(name))
  const pinnedBytes = sum([...unique.values()].filter(({ name }) => pinned.has(name)))
  return { budget, minimum, total, pinned, pinnedBytes, streamed, bytesPerPass: sum(streamed), window: budget - pinnedBytes }
}

/** `window` is that of all matrices streaming; each that can stay without passing `room` with the window that the rest needs is taken out. */
function chooseStreamed(window: Window, matrices: readonly WeightUse[], room: number): Set<string> {
  const streaming = new Set(matrices.map(({ name }) => name))
  const target = Math.max(0, room - window.bytes) / sum(matrices)
  let pinned = 0
  const pin = ({ name, length }: WeightUse): boolean => {
    window.set(name, false)
    if (pinned + length + window.bytes > room) {
      window.set(name, true)
      return false
    }
    streaming.delete(name)
    pinned += length
    return true
  }
  let owed = 0
  for (const matrix of matrices) {
    owed += matrix.length * target
    if (owed < matrix.length / 2 || pinned + matrix.length > room * target * 2) continue
    if (pin(matrix)) owed -= matrix.length
  }
  // What rounding left over: the largest that still fit.
  for (const matrix of [...matrices].sort((a, b) => b.length - a.length))
    if (streaming.has(matrix.name) && pinned + matrix.length <= room) pin(matrix)
  return streaming
}

/** The bytes of all weights that segments use, each once, and the smallest budget that would do. */
export function residencyBounds(segments: readonly (readonly WeightUse[])[]): { readonly total: number; readonly minimum: number } {
  const { total, minimum } = needsOf(segments)
  return { total, minimum }
}

/** The weights, and the window of a pass in which all matrices stream. */
function needsOf(segments: readonly (readonly WeightUse[])[]) {
  const unique = new Map(segments.flat().map((use) => [use.name, use]))
  const matrices = [...unique.values()].filter(({ matrix }) => matrix)
  const window = new Window(segments)
  for (const { name } of matrices) window.set(name, true)
  const base = sum([...unique.values()].filter(({ matrix }) => !matrix))
  const total = sum(unique.values())
  return { unique, matrices, window, base, total, minimum: Math.min(total, base + window.bytes) }
}

function sum(uses: Iterable<{ readonly length: number }>): number {
  let bytes = 0
  for (const { length } of uses) bytes += length
  return bytes
}
