/** Counters of a model's weights and passes; bytes and milliseconds, since it was loaded unless it says otherwise. */
export interface WeightCounters {
  /** weight bytes that the budget allows, that are pinned, and that stream once in every pass */
  readonly budgetBytes: number
  readonly pinnedBytes: number
  readonly streamedBytesPerPass: number
  /** weight bytes in memory now, and the most at any time; never above the budget */
  readonly residentBytes: number
  readonly peakResidentBytes: number
  /** bytes of the experts' weights that tokens were sent to, and those of them that were read for it, not being in memory */
  readonly expertBytes: number
  readonly expertBytesRead: number
  /** tensor bytes read, and the bytes of the pages that hold them */
  readonly bytesRead: number
  readonly diskBytes: number
  /** leases of weights that were in memory, that had to wait, and how long */
  readonly hits: number
  readonly waits: number
  readonly waitMs: number
  readonly computeMs: number
  readonly passes: number
  /** how long the disk had nothing to read for this model, where that is known (native, streaming) */
  readonly diskIdleMs?: number
}

/** The counters of two engines that share a model; the most in memory is then the most of each, which may have been at different times. */
export function addCounters(one: WeightCounters, other: WeightCounters): WeightCounters {
  const sums = Object.entries(other).map(([key, value]) => [key, value + (one[key as keyof WeightCounters] ?? 0)])
  return { ...one, ...Object.fromEntries(sums) }
}
