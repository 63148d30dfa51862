import { randomBytes } from 'node:crypto'
import { lstat, mkdir, open, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { ioError, systemCode } from '../core/errors.js'
import { isMarked, mark } from './marks.js'

/** Writes a new file; what it holds is safe when this resolves. The folder is the caller's to sync. */
export async function writeSynced(path: string, bytes: Uint8Array): Promise<void> {
  try {
    const handle = await open(path, 'wx')
    try {
      await handle.writeFile(bytes)
      await handle.sync()
    } finally {
      await handle.close()
    }
  } catch (error) {
    throw ioError(`write ${path}`, error)
  }
}

/** Makes a folder that may be there already; its name is the caller's to sync. */
export async function makeFan(folder: string): Promise<void> {
  await mkdir(folder).catch((error: unknown) => {
    if (systemCode(error) !== 'EEXIST') throw error
  })
}

/** Makes what a file holds durable. */
export async function syncFile(path: string): Promise<void> {
  const handle = await open(path, 'r+')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Takes away what is no file where one should be. */
export async function clear(path: string): Promise<void> {
  const facts = await lstat(path).catch(() => undefined)
  if (facts && !facts.isFile()) await rm(path, { recursive: true, force: true })
}

/** A folder for work in progress. */
export interface Staging {
  readonly path: string
  /** removes it; what can't be removed now is swept when this process is gone, and must not hide how the work ended */
  done(): Promise<void>
}

/** Makes a folder for work in progress, marked as in use while it is. */
export async function makeStaging(staging: string): Promise<Staging> {
  const path = join(staging, randomBytes(9).toString('hex'))
  const release = await mark(path)
  const done = async () => {
    await rm(path, { recursive: true, force: true }).catch(() => undefined)
    await release()
  }
  try {
    await mkdir(path)
    return { path, done }
  } catch (error) {
    await done()
    throw ioError(`create ${path}`, error)
  }
}

/** Removes what processes that are gone left in a folder. What can't be removed, as in a store that is only read, stays. */
export async function sweepUnmarked(folder: string): Promise<void> {
  const names = new Set((await readdir(folder).catch(() => [])).map((name) => name.replace(/\.lock$/, '')))
  for (const name of names) {
    const path = join(folder, name)
    if (await isMarked(path).catch(() => true)) continue
    for (const left of [path, `${path}.lock`]) await rm(left, { recursive: true, force: true }).catch(() => undefined)
  }
}
