/** Runs a task for each item, at most `atOnce` at a time. The first that fails ends it; those that run are waited for. */
export async function inLanes<T>(items: readonly T[], atOnce: number, task: (item: T) => Promise<unknown>): Promise<void> {
  let next = 0
  const lane = async () => {
    while (next < items.length) {
      try {
        await task(items[next++]!)
      } catch (error) {
        next = items.length
        throw error
      }
    }
  }
  const lanes = await Promise.allSettled(Array.from({ length: Math.min(atOnce, items.length) }, lane))
  for (const outcome of lanes) if (outcome.status === 'rejected') throw outcome.reason
}

/** A task that may add tasks, in the order in which they are to be done. */
export type Task = (add: (tasks: readonly Task[]) => void) => Promise<unknown>

/**
 * Runs tasks, at most `atOnce` at a time, until none is left. What a task adds goes before all that waits, so what is begun is
 * finished first, and little waits. The first that fails ends it; those that run are waited for.
 */
export async function drain(tasks: readonly Task[], atOnce: number): Promise<void> {
  const waiting: Task[] = []
  const add = (added: readonly Task[]) => {
    for (let last = added.length - 1; last >= 0; last--) waiting.push(added[last]!)
  }
  add(tasks)
  await new Promise<void>((resolve, reject) => {
    let running = 0
    let failure: { readonly error: unknown } | undefined
    const next = () => {
      while (!failure && running < atOnce && waiting.length > 0) {
        running += 1
        waiting.pop()!(add)
          .catch((error: unknown) => {
            failure ??= { error }
          })
          .finally(() => {
            running -= 1
            next()
          })
      }
      if (running > 0) return
      if (failure) reject(failure.error)
      else resolve()
    }
    next()
  })
}
