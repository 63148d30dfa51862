import { randomBytes } from 'node:crypto'
import { access, link, open, rename, rm } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { depthFirst } from '../asset/depth-first.js'
import { syncFolder } from '../asset/write-asset.js'
import { AssetError, ioError, systemCode, throwIfAborted } from '../core/errors.js'
import { ahead } from '../core/lanes.js'
import { LEAF } from '../core/limits.js'
import type { LongCall } from '../core/progress.js'
import type { OpenAsset } from '../store/open-asset.js'
import type { BlockCount } from './blocks.js'
import { carHeader, sectionHead } from './car-write.js'
import { type ReadableFolder, withReadableAsset } from './readable-folder.js'

/**
 * Writes an asset as a new CAR file (version 1, one root, depth first, each block once): the same asset gives the same bytes,
 * those of `ipfs dag export`. The name appears when the file is complete.
 * @throws AssetError 'BAD_USAGE' where `out` is there already, 'CORRUPT' where a file of the asset is damaged, 'NOT_FOUND', 'IO', 'ABORTED'; nothing stays then
 */
export async function exportCar(asset: OpenAsset, out: string, { signal, onProgress }: LongCall = {}): Promise<BlockCount> {
  const target = resolve(out)
  const taken = new AssetError('BAD_USAGE', `Cannot write ${out}: it exists already; name a new file or remove it first`)
  if (await isThere(target)) throw taken
  const temporary = `${target}.${process.pid}-${randomBytes(4).toString('hex')}.tmp`
  try {
    const count = await withReadableAsset(asset, signal, (folder) => writeCar(folder, temporary, { signal, onProgress }))
    if (!(await renameAnew(temporary, target))) throw taken
    try {
      await syncFolder(dirname(target))
    } catch (error) {
      await rm(target, { force: true })
      throw error
    }
    return count
  } catch (error) {
    throw ioError(`write ${out}`, error)
  } finally {
    await rm(temporary, { force: true }).catch(() => undefined)
  }
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

/** Gives a file a name that nobody has; false where somebody has it by now. The old name may stay. */
async function renameAnew(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to)
    return true
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false
    // A file system without links: a rename takes the place of what came since this look.
    if (await isThere(to)) return false
    await rename(from, to)
    return true
  }
}

/** Writes a new file, synced. One block is read while another is written. */
async function writeCar(folder: ReadableFolder, path: string, { signal, onProgress }: LongCall): Promise<BlockCount> {
  const total = folder.files.reduce((sum, { size }) => sum + size, 0)
  const count = { blocks: 0, bytes: 0 }
  const rooms = [Buffer.allocUnsafeSlow(LEAF), Buffer.allocUnsafeSlow(LEAF)]
  const blocks = ahead(depthFirst(folder), rooms.length, async (block) => {
    rooms.reverse()
    return { cid: block.cid, bytes: await folder.read(block, rooms[0]!) }
  })
  const handle = await open(path, 'wx')
  try {
    await handle.writeFile(carHeader([folder.cid]))
    for await (const { cid, bytes } of blocks) {
      throwIfAborted(signal, 'write the CAR')
      await handle.writeFile(sectionHead(cid, bytes.byteLength))
      await handle.writeFile(bytes)
      count.blocks += 1
      count.bytes += bytes.byteLength
      onProgress?.({ phase: 'write', done: Math.min(count.bytes, total), total })
    }
    await handle.sync()
    return count
  } finally {
    await handle.close()
  }
}
