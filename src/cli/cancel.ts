/** Runs a call that Ctrl-C cancels: the first one asks it to clean up and end, a second one kills. */
export async function cancellable<T>(call: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  const onSignal = (name: NodeJS.Signals) => controller.abort(name)
  process.once('SIGINT', onSignal)
  process.once('SIGTERM', onSignal)
  try {
    return await call(controller.signal)
  } finally {
    process.removeListener('SIGINT', onSignal)
    process.removeListener('SIGTERM', onSignal)
  }
}
