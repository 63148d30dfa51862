import { mkdir, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { systemCode } from '../core/errors.js'
import { listFiles } from '../core/read.js'
import type { Staging } from './durable.js'
import type { StoreLayout } from './layout.js'
import type { Sweep } from './sweep.js'
import type { Uses } from './uses.js'

/** The name of the journal in the folder of an asset that is being made. */
export const JOURNAL = 'journal'

/** The folder in which the asset of this name is being made: it stays until that is done, so that another run can go on. */
export async function openUnfinished(layout: StoreLayout, uses: Uses, name: string): Promise<Staging & { leave(): Promise<void> }> {
  const release = await uses.mark(name)
  const path = join(layout.unfinished, name)
  const done = async () => {
    await rm(path, { recursive: true, force: true }).catch(() => undefined)
    await release()
  }
  try {
    await mkdir(path, { recursive: true })
    return { path, done, leave: release }
  } catch (error) {
    await release()
    throw error
  }
}

/** Takes away what nobody goes on with, but for what is kept. */
export async function sweepUnfinished(
  layout: StoreLayout,
  uses: Uses,
  isYoung: (path: string) => Promise<boolean>,
  sweep: Sweep,
): Promise<void> {
  const names = await readdir(layout.unfinished).catch((error: unknown) => {
    if (systemCode(error) !== 'ENOENT') throw error
    return []
  })
  for (const name of names) {
    const folder = join(layout.unfinished, name)
    const journal = join(folder, JOURNAL)
    const newest = await stat(journal).then(
      () => journal,
      () => folder,
    )
    if ((await isYoung(newest)) || (await uses.has(name))) continue
    for (const path of await listFiles(folder)) await sweep.take(join(folder, path))
    await sweep.take(folder)
  }
}
