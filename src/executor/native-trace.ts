import type { TraceEvent, TraceEvents } from '../core/trace.js'
import type { NativeEvents } from '../engines/native/addon.js'
import type { NativeNode, Program } from '../engines/native/program.js'

// masset_core::trace::Lane
const LANES = ['disk', 'wait', 'compute', 'pass'] as const

/** What the addon recorded, by names, on the clock of this thread. `files` are the fragments by their number. */
export function nativeEvents(taken: NativeEvents, { segments, matrices, vectors }: Program, files: readonly string[]): TraceEvents {
  const ahead = performance.now() - taken.nowMs
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
