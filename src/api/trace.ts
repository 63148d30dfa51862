import type { TraceEvent, TraceEvents } from '../core/trace.js'

/** What a model did, in the Chrome trace format as Perfetto (ui.perfetto.dev) opens it; times in microseconds. */
export interface Trace {
  readonly traceEvents: readonly (Span | LaneName)[]
  readonly displayTimeUnit: 'ms'
  /** events that were not kept, since there were too many */
  readonly otherData: { readonly leftOut: number }
}

/** A read, a wait, something computed, or a pass; events of one `tid` lie side by side or within one another. */
export interface Span {
  readonly ph: 'X'
  readonly cat: TraceEvent['lane']
  readonly name: string
  readonly pid: 1
  readonly tid: number
  readonly ts: number
  readonly dur: number
  readonly args: { readonly bytes?: number }
}

/** What a row of the picture is called. */
export interface LaneName {
  readonly ph: 'M'
  readonly name: 'thread_name'
  readonly pid: 1
  readonly tid: number
  readonly args: { readonly name: string }
}

// Reads go on at the same time; each row of the picture takes those that don't overlap.
const ROWS = { pass: 1, compute: 2, wait: 3, disk: 4 } as const

/** Events in the order of their beginning, the first at 0. */
export function traceOf({ events, leftOut }: TraceEvents): Trace {
  const sorted = [...events].sort((a, b) => a.start - b.start || b.duration - a.duration)
  const origin = sorted[0]?.start ?? 0
  const diskEnds: number[] = []
  const rowOf = ({ lane, start, duration }: TraceEvent): number => {
    if (lane !== 'disk') return ROWS[lane]
    const free = diskEnds.findIndex((end) => end <= start)
    const row = free < 0 ? diskEnds.length : free
    diskEnds[row] = start + duration
    return ROWS.disk + row
  }
  const spans = sorted.map((event): Span => {
    const { lane, name, start, duration, bytes } = event
    const args = bytes === undefined ? {} : { bytes }
    return { ph: 'X', cat: lane, name, pid: 1, tid: rowOf(event), ts: (start - origin) * 1000, dur: duration * 1000, args }
  })
  const names = [...['pass', 'compute', 'wait'], ...diskEnds.map((_, at) => `disk ${at + 1}`)]
  const lanes = names.map((name, at): LaneName => ({ ph: 'M', name: 'thread_name', pid: 1, tid: 1 + at, args: { name } }))
  return { traceEvents: [...lanes, ...spans], displayTimeUnit: 'ms', otherData: { leftOut } }
}
