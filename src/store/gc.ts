import { stat } from 'node:fs/promises'
import type { StoreLayout } from './layout.js'
import { exclusively } from './lock.js'
import { arrivalNeeds, assetNeeds, Sweep, sweepLocations, sweepPartials, sweepUnneeded } from './sweep.js'
import { sweepUnfinished } from './unfinished.js'
import type { Uses } from './uses.js'

const DAY = 24 * 3600 * 1000

/** What `gc` takes. */
export interface GcOptions {
  /** only counts */
  readonly dryRun?: boolean | undefined
  /** milliseconds after which an asset that did not arrive, or was not made, completely is given up; 7 days when left out */
  readonly unfinishedAfter?: number | undefined
}

/** What was collected, or would be. */
export interface Collected {
  /** bytes that are free now */
  readonly freed: number
  readonly files: number
  /** CIDs of assets that had not arrived completely and were given up */
  readonly unfinished: readonly string[]
}

/** See `gc` of the store. */
export async function collectGarbage(layout: StoreLayout, uses: Uses, options: GcOptions = {}): Promise<Collected> {
  const { dryRun, unfinishedAfter = 7 * DAY } = options
  const isYoung = async (path: string) => {
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Date.now() }))
    return Date.now() - mtimeMs < unfinishedAfter
  }
  const isGoneOn = async (key: string) => (await isYoung(layout.arrival(key))) || uses.has(key)
  return exclusively(layout, async (change) => {
    const sweep = new Sweep(change, dryRun)
    const assets = await assetNeeds(layout, sweep)
    const unfinished: string[] = []
    const arriving = new Set<string>()
    for (const [key, needs] of await arrivalNeeds(layout, sweep)) {
      if (!assets.has(key) && (await isGoneOn(key))) for (const cid of needs) arriving.add(cid)
      else {
        // That of a listed asset a crash left there.
        if (!assets.has(key)) unfinished.push(key)
        await sweep.take(layout.arrival(key))
      }
    }
    // Files of these may be mended just now.
    for (const [key, needs] of assets) if (await uses.has(key)) for (const cid of needs) arriving.add(cid)
    await sweepUnneeded(layout, new Set([...arriving, ...[...assets.values()].flat()]), sweep)
    await sweepPartials(layout, async (cid, path) => arriving.has(cid) || isYoung(path), sweep)
    await sweepLocations(layout, sweep)
    await sweepUnfinished(layout, uses, isYoung, sweep)
    return { freed: sweep.freed, files: sweep.removed, unfinished }
  })
}
