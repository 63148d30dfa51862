import { stat, statfs } from 'node:fs/promises'
import { formatBytes } from '../core/bytes.js'
import { AssetError, ioError, systemCode } from '../core/errors.js'
import type { ArrivingId } from './arriving.js'
import type { StoreLayout } from './layout.js'
import { partialsOf } from './partial.js'

/** Makes sure that files which are to arrive have room beside what of them is there. @throws AssetError 'IO' */
export async function checkRoom(layout: StoreLayout, files: readonly ArrivingId[]): Promise<void> {
  let needed = files.reduce((sum, { size }) => sum + size, 0)
  const { bavail, bsize } = await statfs(layout.root).catch((error: unknown) => {
    throw ioError(`look at the disk of the store ${layout.root}`, error)
  })
  const free = bavail * bsize
  if (needed <= free) return
  for (const { cid } of files) for (const path of await partialsOf(layout, String(cid))) needed -= await roomOf(path)
  if (needed <= free) return
  const why = `that takes ${formatBytes(needed)} more, its disk has ${formatBytes(free)} free`
  throw new AssetError('IO', `Cannot fetch into the store ${layout.root}: ${why}; free some space and try again`)
}

/** Bytes that a file takes on disk; none where another process has just finished it. */
async function roomOf(path: string): Promise<number> {
  return stat(path).then(
    ({ blocks }) => blocks * 512,
    (error: unknown) => {
      if (systemCode(error) !== 'ENOENT') throw ioError(`look at ${path}`, error)
      return 0
    },
  )
}
