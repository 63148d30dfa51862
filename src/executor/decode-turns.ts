import { throwIfAborted } from '../core/errors.js'

/** Rows that one decode pass takes; more would be computed in another order of sums. */
const MOST = 16

// A pass waits for those who shared the last one, but not long: milliseconds, and a part of what that pass took.
const PATIENCE = { most: 10, part: 0.1 }

/** One token more for one sequence. */
export interface Step<Session> {
  readonly session: Session
  readonly id: number
}

interface Waiting<Session> extends Step<Session> {
  readonly signal: AbortSignal | undefined
  readonly resolve: (logits: Float32Array) => void
  readonly reject: (error: unknown) => void
}

/**
 * The turns of all who use one model: while a pass runs, what others ask for gathers, and the single tokens of different
 * sequences then share the next pass, which reads each weight once for all of them. Those who shared a pass come back one
 * after the other; the next waits a moment for all of them, or they would fall apart into groups that each read all
 * weights. Whole passes (prompts) take their turn between.
 */
export class DecodeTurns<Session> {
  private steps: Waiting<Session>[] = []
  private readonly passes: (() => Promise<void>)[] = []
  private busy = false
  /** who shared the last pass and has not left, and how long it took */
  private readonly last = { sessions: new Set<Session>(), ms: 0 }

  /** `decode` computes the logits of the next position of each sequence; bits must not depend on which others there are. */
  constructor(private readonly decode: (steps: readonly Step<Session>[], signal?: AbortSignal) => Promise<Float32Array[]>) {}

  /** The logits after one more token. @throws AssetError 'ABORTED' and those of `decode` */
  step(session: Session, id: number, signal: AbortSignal | undefined): Promise<Float32Array> {
    return new Promise((resolve, reject) => {
      this.steps.push({ session, id, signal, resolve, reject })
      void this.work()
    })
  }

  /** Ends a sequence: no pass waits for it. */
  leave(session: Session): void {
    this.last.sessions.delete(session)
  }

  /** A pass by itself, in turn. */
  pass<T>(run: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.passes.push(() => run().then(resolve, reject))
      void this.work()
    })
  }

  private async work(): Promise<void> {
    if (this.busy) return
    this.busy = true
    while (this.steps.length > 0 || this.passes.length > 0) {
      await this.passes.shift()?.()
      await this.gather()
      const batch = this.steps.slice(0, MOST)
      this.steps = this.steps.slice(MOST)
      await this.together(batch)
    }
    this.busy = false
  }

  /** Lets those who shared the last pass ask for the next. */
  private async gather(): Promise<void> {
    const until = performance.now() + Math.min(PATIENCE.most, PATIENCE.part * this.last.ms)
    const here = (session: Session) => this.steps.some((step) => step.session === session)
    while (this.steps.length > 0 && ![...this.last.sessions].every(here) && performance.now() < until)
      await new Promise((resolve) => setImmediate(resolve))
  }

  private async together(batch: readonly Waiting<Session>[]): Promise<void> {
    const live = batch.filter(({ signal, reject }) => {
      try {
        throwIfAborted(signal, 'generate')
        return true
      } catch (error) {
        reject(error)
        return false
      }
    })
    if (live.length === 0) return
    this.last.sessions.clear()
    for (const { session } of live) this.last.sessions.add(session)
    const started = performance.now()
    try {
      // One alone can be stopped in the middle; of several, the others go on.
      const logits = await this.decode(live, live.length === 1 ? live[0]!.signal : undefined)
      this.last.ms = performance.now() - started
      for (const [at, { resolve }] of live.entries()) resolve(logits[at]!)
    } catch (error) {
      // Whose fault it was shows when each goes alone.
      if (live.length === 1) live[0]!.reject(error)
      else for (const one of live) await this.together([one])
    }
  }
}
