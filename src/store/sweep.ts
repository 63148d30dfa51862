import { readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { syncFolder } from '../asset/write-asset.js'
import { isCid } from '../core/cid.js'
import { AssetError, systemCode } from '../core/errors.js'
import { type Description, readEntry } from './entry.js'
import type { StoreLayout } from './layout.js'
import type { Uses } from './uses.js'

/** The CIDs of all that an asset needs of a store. */
export function needsOf({ manifest, manifestFile, nodes }: Description): string[] {
  return [...manifest.files.values(), manifestFile, ...nodes].map(({ cid }) => String(cid))
}

/**
 * What the listed assets of a store need. To be called under the lock: entries are written under it, so a temporary one
 * is what a killed writer left, and goes.
 * @throws AssetError 'CORRUPT' where what one needs can't be known
 */
export async function neededByAssets(layout: StoreLayout): Promise<Set<string>> {
  const needed = new Set<string>()
  for (const key of await readdir(layout.assets)) {
    if (!isCid(key)) await rm(layout.asset(key), { force: true })
    else for (const cid of needsOf(await readEntry(layout, layout.asset(key), key))) needed.add(cid)
  }
  return needed
}

/** Removes files and folder blocks that are not needed. Resolves to the bytes freed. */
export async function sweepUnneeded(layout: StoreLayout, needed: ReadonlySet<string>): Promise<number> {
  return (await sweepFolder(layout.files, needed)) + (await sweepFolder(layout.nodes, needed))
}

async function sweepFolder(folder: string, needed: ReadonlySet<string>): Promise<number> {
  let freed = 0
  for (const fan of await readdir(folder).catch(() => [])) {
    for (const name of await readdir(join(folder, fan))) {
      if (needed.has(name.replace(/\.sums$/, ''))) continue
      const path = join(folder, fan, name)
      freed += (await stat(path)).size
      await rm(path, { force: true })
    }
  }
  return freed
}

/**
 * Takes the entry of an asset away for good, but for one that is in use. A crash on the way leaves it away.
 * @throws AssetError 'IN_USE'
 */
export async function takeAway(layout: StoreLayout, uses: Uses, key: string): Promise<void> {
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
