import { throwIfAborted } from '../core/errors.js'

/** Rows that one decode pass takes; more would be computed in another order of sums. */
const MOST = 16

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
 * sequences then share the next pass, which reads each weight once for all of them. Whole passes (prompts) take their
 * turn between.
 */
export class DecodeTurns<Session> {
  private steps: Waiting<Session>[] = []
  private readonly passes: (() => Promise<void>)[] = []
  private busy = false
  /** rows of the last pass */
  private lately = 0

  /** `decode` computes the logits of the next position of each sequence; bits must not depend on which others there are. */
  constructor(private readonly decode: (steps: readonly Step<Session>[], signal?: AbortSignal) => Promise<Float32Array[]>) {}

  /** The logits after one more token. @throws AssetError 'ABORTED' and those of `decode` */
  step(session: Session, id: number, signal: AbortSignal | undefined): Promise<Float32Array> {
    return new Promise((resolve, reject) => {
      this.steps.push({ session, id, signal, resolve, reject })
      void this.work()
    })
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
      // Those who shared the last pass have their logits and are about to ask for more: without a turn for them, the first would
      // always go ahead of the others, and a batch fall apart into two.
      if (this.lately > 1) await new Promise((resolve) => setImmediate(resolve))
      const batch = this.steps.slice(0, MOST)
      this.steps = this.steps.slice(MOST)
      await this.together(batch)
    }
    this.busy = false
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
    this.lately = live.length
    if (live.length === 0) return
    try {
      // One alone can be stopped in the middle; of several, the others go on.
      const logits = await this.decode(live, live.length === 1 ? live[0]!.signal : undefined)
      for (const [at, { resolve }] of live.entries()) resolve(logits[at]!)
    } catch (error) {
      // Whose fault it was shows when each goes alone.
      if (live.length === 1) live[0]!.reject(error)
      else for (const one of live) await this.together([one])
    }
  }
}
