import { formatBytes } from '../core/bytes.js'
import { AssetError } from '../core/errors.js'

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
  const unique = new Map(segments.flat().map((use) => [use.name, use]))
  const total = totalBytes(segments)
  const base = sum([...unique.values()].filter(({ matrix }) => !matrix))
  const matrices = [...unique.values()].filter(({ matrix }) => matrix)
  const minimum = Math.min(total, base + windowOf(segments, new Set(matrices.map(({ name }) => name))))
  if (budget < minimum) {
    throw new AssetError(
      'BUDGET_TOO_SMALL',
      `Cannot run within ${formatBytes(budget)} of memory: the largest weight and its read-ahead need ${formatBytes(minimum)}; give at least ${minimum} bytes`,
    )
  }
  const streaming = total <= budget ? new Set<string>() : chooseStreamed(segments, matrices, budget - base)
  const pinned = new Set([...unique.keys()].filter((name) => !streaming.has(name)))
  const streamed = segments.flat().filter(({ name }) => streaming.has(name))
  const pinnedBytes = sum([...unique.values()].filter(({ name }) => pinned.has(name)))
  return { budget, minimum, total, pinned, pinnedBytes, streamed, bytesPerPass: sum(streamed), window: budget - pinnedBytes }
}

function chooseStreamed(segments: readonly (readonly WeightUse[])[], matrices: readonly WeightUse[], room: number): Set<string> {
  const streaming = new Set(matrices.map(({ name }) => name))
  const target = Math.max(0, room - windowOf(segments, streaming)) / sum(matrices)
  let pinned = 0
  let owed = 0
  for (const { name, length } of matrices) {
    owed += length * target
    if (owed < length / 2 || pinned + length > room * target * 2) continue
    streaming.delete(name)
    if (pinned + length + windowOf(segments, streaming) > room) {
      streaming.add(name)
      continue
    }
    owed -= length
    pinned += length
  }
  // What rounding left over: the largest that still fit.
  for (const { name, length } of [...matrices].sort((a, b) => b.length - a.length)) {
    if (!streaming.has(name) || pinned + length > room) continue
    streaming.delete(name)
    if (pinned + length + windowOf(segments, streaming) > room) streaming.add(name)
    else pinned += length
  }
  return streaming
}

/** Bytes of all weights that segments use, each once. */
export function totalBytes(segments: readonly (readonly WeightUse[])[]): number {
  return sum(new Map(segments.flat().map((use) => [use.name, use])).values())
}

/** Bytes that the streamed weights of one segment and of the next that streams need together, around the end of the pass too. */
function windowOf(segments: readonly (readonly WeightUse[])[], streaming: ReadonlySet<string>): number {
  const needs = segments.map((uses) => sum(uses.filter(({ name }) => streaming.has(name)))).filter((need) => need > 0)
  if (needs.length <= 1) return needs[0] ?? 0
  return needs.reduce((most, need, at) => Math.max(most, need + needs[(at + 1) % needs.length]!), 0)
}

function sum(uses: Iterable<{ readonly length: number }>): number {
  let bytes = 0
  for (const { length } of uses) bytes += length
  return bytes
}
