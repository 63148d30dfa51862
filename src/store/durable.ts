import { randomBytes } from 'node:crypto'
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { syncFolder } from '../asset/write-asset.js'
import { ioError } from '../core/errors.js'
import { isMarked, mark } from './marks.js'

/** Writes a file so that a crash leaves the old state or the new one: sibling, sync, rename. The folder is the caller's to sync. */
export async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.${process.pid}-${randomBytes(4).toString('hex')}.tmp`
  try {
    const handle = await open(temporary, 'wx')
    try {
      await handle.writeFile(bytes)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw ioError(`write ${path}`, error)
  }
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

/** Removes what processes that are gone left behind. */
export async function sweepStaging(staging: string): Promise<void> {
  const names = new Set((await readdir(staging).catch(() => [])).map((name) => name.replace(/\.lock$/, '')))
  for (const name of names) {
    const path = join(staging, name)
    if (await isMarked(path).catch(() => true)) continue
    await rm(path, { recursive: true, force: true })
    await rm(`${path}.lock`, { recursive: true, force: true })
  }
}

/** Syncs the folders of many paths, each once. */
export async function syncFoldersOf(paths: Iterable<string>): Promise<void> {
  for (const folder of new Set([...paths].map((path) => dirname(path)))) await syncFolder(folder)
}
