import { AssetError } from '../core/errors.js'
import type { Arriving } from '../store/arriving-asset.js'

/** Runs a pass, or a part of one, over an asset that may still arrive. Where it fails since something does not arrive, that is the error. */
export async function whileArriving<T>(
  arriving: Arriving | undefined,
  signal: AbortSignal | undefined,
  pass: () => Promise<T>,
  isLoading = false,
): Promise<T> {
  if (!arriving) return pass()
  const onAbort = () => arriving.giveUp(new AssetError('ABORTED', 'Cannot finish: it was cancelled', { cause: signal?.reason }))
  signal?.addEventListener('abort', onAbort, { once: true })
  arriving.beginPass()
  let isDone = false
  try {
    const result = await pass()
    isDone = !isLoading
    return result
  } catch (error) {
    const { failure } = arriving
    const isOfIt = failure && error instanceof Error && error.message.includes(failure.message)
    throw isOfIt && !signal?.aborted ? failure : error
  } finally {
    signal?.removeEventListener('abort', onAbort)
    arriving.endPass(isDone)
  }
}
