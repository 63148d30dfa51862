import { setTimeout } from 'node:timers/promises'
import { AssetError, throwIfAborted } from '../../core/errors.js'

const TRIES = 4
// Bytes that are worth another four tries: whoever gives less for each would have us ask for ever.
const ENOUGH = 64 * 1024
// Whoever is told to wait for longer should know.
const MOST_WAIT_MS = 60_000

/** A failure that may pass: after so many milliseconds, where it was said. */
export class Passing extends AssetError {
  constructor(
    message: string,
    readonly after?: number | undefined,
  ) {
    super('IO', message)
  }
}

/** The milliseconds that a reply asks to wait for, if it does. */
export function retryAfter(header: string | undefined): number | undefined {
  if (header === undefined) return undefined
  const milliseconds = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now()
  return Number.isFinite(milliseconds) ? Math.max(0, milliseconds) : undefined
}

/**
 * Does something, again after a while where it fails for a reason that may pass: a connection that was cut, a hub that is asked
 * too often. Four times, each time that `progress`, in bytes, has got no further.
 * @throws AssetError why it failed the last time, or for good; 'ABORTED'
 */
export async function again<T>(
  attempt: () => Promise<T>,
  {
    signal,
    pause,
    progress = () => 0,
  }: { readonly signal: AbortSignal | undefined; readonly pause: number; readonly progress?: () => number },
): Promise<T> {
  let before = progress()
  for (let tries = 1; ; tries++) {
    try {
      return await attempt()
    } catch (error) {
      if (!(error instanceof AssetError) || error.code !== 'IO') throw error
      if (progress() - before >= ENOUGH) tries = 1
      before = progress()
      const after = error instanceof Passing ? error.after : undefined
      if (tries >= TRIES || (after ?? 0) > MOST_WAIT_MS) throw error
      await setTimeout(after ?? pause * 2 ** (tries - 1), undefined, signal && { signal }).catch(() => undefined)
      throwIfAborted(signal, 'ask the hub')
    }
  }
}
