import { check, lock } from 'proper-lockfile'
import { ioError } from '../core/errors.js'

// A mark is renewed every third of this; one that was not is of a process that is gone, whatever its number was and
// wherever it ran.
const STALE_MS = 30_000

/** Says that this process uses what `path` stands for, by a folder `path.lock` beside it, until the call it resolves to. */
export async function mark(path: string): Promise<() => Promise<void>> {
  try {
    // A mark that is lost (the machine slept) is not made again: others were free to act since.
    const release = await lock(path, { realpath: false, stale: STALE_MS, update: STALE_MS / 3, onCompromised: () => undefined })
    return () => release().catch(() => undefined)
  } catch (error) {
    throw ioError(`mark ${path}`, error)
  }
}

/** True while a living process says that it uses what `path` stands for. */
export function isMarked(path: string): Promise<boolean> {
  return check(path, { realpath: false, stale: STALE_MS })
}
