import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { lock } from 'proper-lockfile'
import { AssetError, ioError, systemCode } from '../core/errors.js'
import { Change } from './change.js'
import type { StoreLayout } from './layout.js'

// A lock is renewed every half of this; one that was not is of a process that is gone.
const STALE_MS = 15_000
const PATIENCE_MS = 120_000

/**
 * Runs one change of the store at a time, over all processes; a lock whose holder died is taken over. A holder that slept too
 * long fails at its next step, see {@link Change}. Readers never ask for it.
 * @throws AssetError 'IN_USE' where another process holds it for longer than `patience` milliseconds, 'IO'
 */
export async function exclusively<T>(
  layout: StoreLayout,
  make: (change: Change) => Promise<T>,
  patience: number = PATIENCE_MS,
): Promise<T> {
  const { root } = layout
  const lock = join(root, 'lock')
  try {
    const release = await takeLock(lock, patience)
    let isHeld = true
    try {
      const change = await Change.begin(layout)
      try {
        return await make(change)
      } finally {
        isHeld = await change.end()
      }
    } finally {
      // One that was taken over is another's. What can't be released is taken over later; it must not hide how the change ended.
      if (isHeld) await release().catch(() => undefined)
    }
  } catch (error) {
    if (systemCode(error) !== 'ELOCKED') throw ioError(`change the store ${root}`, error)
    throw new AssetError(
      'IN_USE',
      `Cannot change the store ${root}: another process is changing it; try again, or if none is running remove the folder ${lock}.lock`,
      { cause: error },
    )
  }
}

/**
 * Waits for another holder; a moment where another took the lock away for stale while it was taken; and for nothing
 * else: a disk that fails must be told of at once.
 */
async function takeLock(path: string, patience: number): Promise<() => Promise<void>> {
  const until = Date.now() + patience
  let races = 5
  for (let wait = 20; ; wait = Math.min(wait * 2, 200)) {
    try {
      // Whether it is still held is asked of the disk, at each step.
      return await lock(path, { realpath: false, stale: STALE_MS, onCompromised: () => undefined })
    } catch (error) {
      const again = systemCode(error) === 'ELOCKED' ? Date.now() < until : systemCode(error) === 'ENOENT' && races-- > 0
      if (!again) throw error
      await setTimeout(wait)
    }
  }
}
