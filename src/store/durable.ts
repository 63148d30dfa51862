import { randomBytes } from 'node:crypto'
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { syncFolder } from '../asset/write-asset.js'
import { ioError } from '../core/errors.js'

const ABANDONED_MS = 7 * 24 * 3600 * 1000

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

/** Makes a folder for work in progress that says whose it is. */
export async function makeStaging(staging: string): Promise<string> {
  const path = join(staging, `${process.pid}-${randomBytes(6).toString('hex')}`)
  await mkdir(path, { recursive: true }).catch((error: unknown) => {
    throw ioError(`create ${path}`, error)
  })
  return path
}

/**
 * Removes what processes that are gone left behind. A process id may be in use again by another program: such a folder
 * is only kept longer, for a week.
 */
export async function sweepStaging(staging: string): Promise<void> {
  for (const name of await readdir(staging).catch(() => [])) {
    const path = join(staging, name)
    const age = await stat(path).then(
      (facts) => Date.now() - facts.mtimeMs,
      () => 0,
    )
    if (!isAlive(Number.parseInt(name, 10)) || age > ABANDONED_MS) await rm(path, { recursive: true, force: true })
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

/** Syncs the folders of many paths, each once. */
export async function syncFoldersOf(paths: Iterable<string>): Promise<void> {
  for (const folder of new Set([...paths].map((path) => dirname(path)))) await syncFolder(folder)
}
