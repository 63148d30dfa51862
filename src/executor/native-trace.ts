import type { TraceEvent, TraceEvents } from '../core/trace.js'
import type { NativeEvents } from '../engines/native/addon.js'
import type { NativeNode, Program } from '../engines/native/program.js'

// masset_core::trace::Lane
const LANES = ['disk', 'wait', 'compute', 'pass'] as const

/** How far the clock of this thread is ahead of another: of a few looks at both the quickest, since any may be interrupted. */
export function clockAhead(other: () => number): number {
  const looks = Array.from({ length: 16 }, () => {
    const before = performance.now()
    const there = other()
    const after = performance.now()
    return { took: after - before, ahead: (before + after) / 2 - there }
  })
  return looks.reduce((best, look) => (look.took < best.took ? look : best)).ahead
}

/** What the addon recorded, by names, on the clock of this thread. `files` are the fragments by their number. */
export function nativeEvents(
  taken: NativeEvents,
  ahead: number,
  { segments, matrices, vectors }: Program,
  files: readonly string[],
): TraceEvents {
  const nameOf = ({ run }: NativeNode): string => {
    if ('weight' in run) return run.op === 'rows' ? `rows of ${matrices[run.weight]}` : matrices[run.weight]!
    if (run.op === 'vector') return vectors[run.index]!
    return 'f' in run ? run.f : run.op
  }
  const names = segments.flatMap(({ nodes }) => nodes.map(nameOf))
  const events = Array.from(taken.lanes, (number, at): TraceEvent => {
    const lane = LANES[number]!
    const what = taken.what[at]!
    const times = { start: taken.beganMs[at]! + ahead, duration: taken.tookMs[at]! }
    if (lane === 'disk') return { lane, name: files[what]!, ...times, bytes: taken.bytes[at]! }
    return { lane, name: lane === 'pass' ? 'pass' : names[what]!, ...times }
  })
  return { events, leftOut: taken.leftOut }
}
