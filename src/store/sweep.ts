import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isCid } from '../core/cid.js'
import { systemCode } from '../core/errors.js'
import type { Change } from './change.js'
import { type Description, readEntry } from './entry.js'
import type { StoreLayout } from './layout.js'

/** Takes files away and counts them, while the lock is held; `dry` counts only. */
export class Sweep {
  freed = 0
  removed = 0

  constructor(
    private readonly change: Change,
    private readonly dry: boolean = false,
  ) {}

  async take(path: string): Promise<void> {
    const facts = await stat(path).catch((error: unknown) => {
      // Whoever wrote it may have finished it just now.
      if (systemCode(error) !== 'ENOENT') throw error
    })
    if (!facts) return
    this.removed += 1
    // Of what arrives holes take no room.
    this.freed += Math.min(facts.size, facts.blocks * 512)
    if (!this.dry) await this.change.remove(path)
  }
}

/** The CIDs of all that an asset needs of a store. */
function needsOf({ manifest, manifestFile, nodes }: Description): string[] {
  return [...manifest.files.values(), manifestFile, ...nodes].map(({ cid }) => String(cid))
}

/**
 * What each listed asset of a store needs. What is no entry goes.
 * @throws AssetError 'CORRUPT' where what one needs can't be known
 */
export async function assetNeeds(layout: StoreLayout, sweep: Sweep): Promise<Map<string, readonly string[]>> {
  const needs = new Map<string, readonly string[]>()
  for (const key of await readdir(layout.assets)) {
    if (isCid(key)) needs.set(key, needsOf(await readEntry(layout, layout.asset(key), key)))
    else await sweep.take(layout.asset(key))
  }
  return needs
}

/** The same for assets that arrive. What one needs that can't be known is fetched anew, should anybody go on with it. */
export async function arrivalNeeds(layout: StoreLayout, sweep: Sweep): Promise<Map<string, readonly string[]>> {
  const needs = new Map<string, readonly string[]>()
  for (const key of await namesIn(layout.arriving)) {
    if (isCid(key)) needs.set(key, await readEntry(layout, layout.arrival(key), key).then(needsOf, () => []))
    else await sweep.take(layout.arrival(key))
  }
  return needs
}

/** Takes away files and folder blocks that are not needed. */
export async function sweepUnneeded(layout: StoreLayout, needed: ReadonlySet<string>, sweep: Sweep): Promise<void> {
  for (const folder of [layout.files, layout.nodes])
    for await (const { name, path } of fanned(folder)) {
      const isNeeded = needed.has(name.replace(/\.(sums|link)$/, ''))
      // A link is of no use where the file itself has come.
      if (!isNeeded || (name.endsWith('.link') && (await isFile(path.slice(0, -'.link'.length))))) await sweep.take(path)
    }
}

/** Takes away what has arrived of files, but for those that are kept. */
export async function sweepPartials(
  layout: StoreLayout,
  isKept: (cid: string, path: string) => boolean | Promise<boolean>,
  sweep: Sweep,
): Promise<void> {
  for await (const { name, path } of fanned(layout.partial)) if (!(await isKept(name.split('.')[0]!, path))) await sweep.take(path)
}

/** Takes away what is no list of locations: what killed writers of older versions left. */
export async function sweepLocations(layout: StoreLayout, sweep: Sweep): Promise<void> {
  for (const name of await namesIn(layout.locations)) if (!isCid(name)) await sweep.take(layout.locationsOf(name))
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (facts) => facts.isFile(),
    () => false,
  )
}

/** What lies in the folders below a folder. */
async function* fanned(folder: string): AsyncGenerator<{ name: string; path: string }> {
  for (const fan of await namesIn(folder))
    for (const name of await namesIn(join(folder, fan))) yield { name, path: join(folder, fan, name) }
}

/** The names in a folder; none where an older store has none, or where something else lies that is not of the store. */
async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch((error: unknown) => {
    if (systemCode(error) !== 'ENOENT' && systemCode(error) !== 'ENOTDIR') throw error
    return []
  })
}
