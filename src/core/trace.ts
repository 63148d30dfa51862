/** Something that took time; milliseconds on one clock, bytes that came from the disk. */
export interface TraceEvent {
  /** a read, a wait for one, computing, or a whole pass */
  readonly lane: 'disk' | 'wait' | 'compute' | 'pass'
  /** the file that is read, what is computed or waited for */
  readonly name: string
  readonly start: number
  readonly duration: number
  readonly bytes?: number
}

/** Events, and how many there were beside them. */
export interface TraceEvents {
  readonly events: readonly TraceEvent[]
  readonly leftOut: number
}

// About as much as the native engine keeps.
const MOST = 2 ** 18

/** Keeps events until they are taken, so many at most. */
export class TraceLog {
  private events: TraceEvent[] = []
  private leftOut = 0

  constructor(private readonly most = MOST) {}

  /** Keeps that something began at a time (`performance.now()`) and ended now. */
  record(lane: TraceEvent['lane'], name: string, start: number, bytes?: number): void {
    if (this.events.length >= this.most) this.leftOut += 1
    else this.events.push({ lane, name, start, duration: performance.now() - start, ...(bytes !== undefined && { bytes }) })
  }

  /** Gives what was kept, and begins anew. */
  take(): TraceEvents {
    const { events, leftOut } = this
    this.events = []
    this.leftOut = 0
    return { events, leftOut }
  }
}
