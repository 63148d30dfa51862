import { access } from 'node:fs/promises'
import { syncFolder } from '../asset/write-asset.js'
import { AssetError } from '../core/errors.js'
import type { Change } from './change.js'
import type { StoreLayout } from './layout.js'
import { writeLocations } from './locations.js'
import { exclusively } from './lock.js'
import { arrivalNeeds, assetNeeds, Sweep, sweepPartials, sweepUnneeded } from './sweep.js'
import type { Uses } from './uses.js'

/**
 * Removes an asset, or what has arrived of it, and what no other asset needs. Resolves to the bytes freed.
 * @throws AssetError 'BAD_USAGE' where it is pinned, 'IN_USE', 'CORRUPT' where what another asset needs can't be known: no file is removed then
 */
export async function removeAsset(layout: StoreLayout, uses: Uses, key: string): Promise<number> {
  return exclusively(layout, async (change) => {
    await takeAway(change, layout, uses, key)
    const sweep = new Sweep(change)
    const arriving = await arrivalNeeds(layout, sweep)
    const own = new Set(arriving.get(key))
    arriving.delete(key)
    const needed = new Set([...arriving.values(), ...(await assetNeeds(layout, sweep)).values()].flat())
    await change.remove(layout.arrival(key))
    await writeLocations(change, layout, key, [])
    await sweepUnneeded(layout, needed, sweep)
    // What another asset needs may be mended just now.
    await sweepPartials(layout, (cid) => !own.has(cid) || needed.has(cid), sweep)
    return sweep.freed
  })
}

/** Takes the entry of an asset away for good, but for one that is to stay. A crash on the way leaves it away. */
async function takeAway(change: Change, layout: StoreLayout, uses: Uses, key: string): Promise<void> {
  // Looked at before too: mostly that is enough, and whoever asks for it now need not wait.
  await checkRemovable(layout, uses, key)
  const entry = layout.asset(key)
  const aside = await change.setAside(entry)
  // Else a crash could leave the entry of an asset whose files are gone.
  await syncFolder(layout.assets)
  if (aside === undefined) return
  try {
    await checkRemovable(layout, uses, key)
  } catch (error) {
    await change.putBack(aside, entry)
    await syncFolder(layout.assets)
    throw error
  }
}

async function checkRemovable(layout: StoreLayout, uses: Uses, key: string): Promise<void> {
  const isPinned = await access(layout.pin(key)).then(
    () => true,
    () => false,
  )
  if (isPinned) throw new AssetError('BAD_USAGE', `Cannot remove ${key}: it is pinned; unpin it first`)
  if (!(await uses.has(key))) return
  const why = 'a process is using it; end that first (one that was killed counts for half a minute)'
  throw new AssetError('IN_USE', `Cannot remove ${key}: ${why}`)
}
