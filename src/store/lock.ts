import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { lock } from 'proper-lockfile'
import { AssetError, ioError, systemCode } from '../core/errors.js'

// A lock is renewed every half of this; one that was not is of a process that is gone.
const STALE_MS = 15_000
const PATIENCE_MS = 120_000

/**
 * Runs one change of the store at a time, over all processes; a lock whose holder died is taken over. A holder that
 * slept too long finds out by `checkHeld`. Readers never ask for it.
 * @throws AssetError 'IN_USE' where another process holds it for longer than `patience` milliseconds, 'IO'
 */
export async function exclusively<T>(
  root: string,
  change: (checkHeld: () => void) => Promise<T>,
  patience: number = PATIENCE_MS,
): Promise<T> {
  let lost: Error | undefined
  const checkHeld = () => {
    if (lost) throw new AssetError('IO', `Cannot change the store ${root}: another process took over meanwhile; try again`, { cause: lost })
  }
  const onCompromised = (error: Error) => {
    lost = error
  }
  try {
    const release = await takeLock(join(root, 'lock'), patience, onCompromised)
    try {
      return await change(checkHeld)
    } finally {
      // What can't be released is taken over later; it must not hide how the change ended.
      if (!lost) await release().catch(() => undefined)
    }
  } catch (error) {
    if (systemCode(error) !== 'ELOCKED') throw ioError(`change the store ${root}`, error)
    throw new AssetError(
      'IN_USE',
      `Cannot change the store ${root}: another process is changing it; try again, or if none is running remove the folder ${join(root, 'lock.lock')}`,
      { cause: error },
    )
  }
}

/**
 * Waits for another holder; a moment where another took the lock away for stale while it was taken; and for nothing
 * else: a disk that fails must be told of at once.
 */
async function takeLock(path: string, patience: number, onCompromised: (error: Error) => void): Promise<() => Promise<void>> {
  const until = Date.now() + patience
  let races = 5
  for (let wait = 20; ; wait = Math.min(wait * 2, 200)) {
    try {
      return await lock(path, { realpath: false, stale: STALE_MS, onCompromised })
    } catch (error) {
      const again = systemCode(error) === 'ELOCKED' ? Date.now() < until : systemCode(error) === 'ENOENT' && races-- > 0
      if (!again) throw error
      await setTimeout(wait)
    }
  }
}
