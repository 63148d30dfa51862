import { rename, rm } from 'node:fs/promises'
import { syncFolder } from '../asset/write-asset.js'
import { AssetError, systemCode } from '../core/errors.js'
import type { StoreLayout } from './layout.js'
import { removeLocations } from './locations.js'
import { exclusively } from './lock.js'
import { arrivalNeeds, assetNeeds, Sweep, sweepPartials, sweepUnneeded } from './sweep.js'
import type { Uses } from './uses.js'

/**
 * Removes an asset, or what has arrived of it, and what no other asset needs. Resolves to the bytes freed.
 * @throws AssetError 'IN_USE', 'CORRUPT' where what another asset needs can't be known: no file is removed then
 */
export async function removeAsset(layout: StoreLayout, uses: Uses, key: string): Promise<number> {
  return exclusively(layout.root, async () => {
    await takeAway(layout, uses, key)
    const sweep = new Sweep()
    const arriving = await arrivalNeeds(layout, sweep)
    const own = new Set(arriving.get(key))
    arriving.delete(key)
    const kept = new Set([...arriving.values()].flat())
    const needed = new Set([...kept, ...[...(await assetNeeds(layout, sweep)).values()].flat()])
    await rm(layout.arrival(key), { force: true })
    await removeLocations(layout, key)
    await sweepUnneeded(layout, needed, sweep)
    await sweepPartials(layout, (cid) => !own.has(cid) || kept.has(cid), sweep)
    return sweep.freed
  })
}

/** Takes the entry of an asset away for good, but for one that is in use. A crash on the way leaves it away. */
async function takeAway(layout: StoreLayout, uses: Uses, key: string): Promise<void> {
  const inUse = new AssetError(
    'IN_USE',
    `Cannot remove ${key}: a process is using it; end that first (one that was killed counts for half a minute)`,
  )
  // Looked at before too: mostly that is enough, and whoever asks for it now need not wait.
  if (await uses.has(key)) throw inUse
  const [entry, aside] = [layout.asset(key), `${layout.asset(key)}.removing`]
  const taken = await rename(entry, aside).then(
    () => true,
    (error: unknown) => {
      if (systemCode(error) !== 'ENOENT') throw error
      return false
    },
  )
  // Else a crash could leave the entry of an asset whose files are gone.
  await syncFolder(layout.assets)
  if (!taken || !(await uses.has(key))) return
  await rename(aside, entry)
  await syncFolder(layout.assets)
  throw inUse
}
