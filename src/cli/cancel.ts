const closed = new AbortController()

/** Fires when nobody takes the output any more, such as `head` that has its lines; the reason is the system's error. */
export const outputClosed: AbortSignal = closed.signal

/** Watches the output: when it is closed, what is under way is cancelled, so that it cleans up after itself. */
export function watchOutput(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', (error) => closed.abort(error))
}

/** Runs a call that Ctrl-C and a closed output cancel: the first Ctrl-C asks it to clean up and end, a second one kills. */
export async function cancellable<T>(call: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  const onSignal = (name: NodeJS.Signals) => controller.abort(name)
  process.once('SIGINT', onSignal)
  process.once('SIGTERM', onSignal)
  try {
    return await call(AbortSignal.any([controller.signal, outputClosed]))
  } finally {
    process.removeListener('SIGINT', onSignal)
    process.removeListener('SIGTERM', onSignal)
  }
}
