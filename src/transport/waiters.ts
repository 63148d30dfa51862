interface Waiter {
  readonly isReady: () => boolean
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** Calls that wait in this thread, each until something is so; looked at whenever something has happened. */
export class Waiters {
  private waiting: Waiter[] = []

  /** Resolves at the first {@link settle} after which it is ready; fails with `error()` as soon as the signal fires. */
  async until(isReady: () => boolean, signal?: AbortSignal, error?: () => Error): Promise<void> {
    let onAbort: (() => void) | undefined
    const ready = new Promise<void>((resolve, reject) => {
      const waiter = { isReady, resolve, reject }
      this.waiting.push(waiter)
      onAbort = () => {
        this.waiting = this.waiting.filter((one) => one !== waiter)
        reject(error?.() ?? signal?.reason)
      }
    })
    if (signal?.aborted) onAbort!()
    signal?.addEventListener('abort', onAbort!, { once: true })
    await ready.finally(() => signal?.removeEventListener('abort', onAbort!))
  }

  /** Lets those go on that are ready. */
  settle(): void {
    const ready = this.waiting.filter(({ isReady }) => isReady())
    if (ready.length === 0) return
    this.waiting = this.waiting.filter((waiter) => !ready.includes(waiter))
    for (const { resolve } of ready) resolve()
  }

  /** Lets go of all of them. */
  giveUp(error: Error): void {
    const { waiting } = this
    this.waiting = []
    for (const { reject } of waiting) reject(error)
  }
}
