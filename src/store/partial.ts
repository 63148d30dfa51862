import { randomBytes } from 'node:crypto'
import { constants, copyFile, type FileHandle, open, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { AssetError, ioError, systemCode } from '../core/errors.js'
import { withFile } from '../core/read.js'
import { makeFan, writeSynced } from './durable.js'
import type { StoreLayout } from './layout.js'

const LEAVES = '.leaves'
const DIGEST = 32
// Others keep what they fetch beside these, under other names.
const RANDOM = /^[0-9a-f]{18}$/

/** Bytes on disk of a file of which parts are missing. */
export interface PartialFile {
  readonly path: string
  readonly handle: FileHandle
  /** made just now: there was none */
  readonly isNew: boolean
}

/**
 * Opens what has arrived of a file, or a new place for it. Processes that find the same one share it: whatever any of them
 * writes at a place is what belongs there. No path is ever used twice, so that it stays that of the file which was opened.
 */
export async function openPartial(layout: StoreLayout, cid: string): Promise<PartialFile> {
  for (const path of await partialsOf(layout, cid)) {
    const handle = await open(path, 'r+').catch((error: unknown) => {
      // Another process has finished it just now.
      if (systemCode(error) !== 'ENOENT') throw error
    })
    if (handle) return { path, handle, isNew: false }
  }
  return newPartial(layout, cid)
}

/** Makes a new place for a file; a copy of the one at `copied`, if given. */
export async function newPartial(layout: StoreLayout, cid: string, copied?: string): Promise<PartialFile> {
  const fan = layout.partialFan(cid)
  await makeFan(fan)
  const path = join(fan, `${cid}.${randomBytes(9).toString('hex')}`)
  if (copied === undefined) return { path, handle: await open(path, 'wx+'), isNew: true }
  try {
    // Opened first, since copying what is no file may never end.
    await withFile(copied, copied, () => copyFile(copied, path, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL))
    return { path, handle: await open(path, 'r+'), isNew: true }
  } catch (error) {
    await removePartial(path).catch(() => undefined)
    throw error
  }
}

/** The paths of what has arrived of a file, in order. */
export async function partialsOf(layout: StoreLayout, cid: string): Promise<string[]> {
  const fan = layout.partialFan(cid)
  const names = await readdir(fan).catch((error: unknown) => {
    if (systemCode(error) !== 'ENOENT') throw error
    return []
  })
  return names
    .filter((name) => name.startsWith(`${cid}.`) && RANDOM.test(name.slice(cid.length + 1)))
    .sort()
    .map((name) => join(fan, name))
}

/**
 * Writes what belongs to the file or folder `cid` to its place in the store, at once and whoever reads there. Without the lock
 * nothing may be at a name that a sweep may take, so until it has its own it lies among what arrives of `cid`. The place's folder is
 * the caller's to sync.
 */
export async function writeInPlace(layout: StoreLayout, cid: string, place: string, bytes: Uint8Array): Promise<void> {
  const fan = layout.partialFan(cid)
  const made = join(fan, `${cid}.${randomBytes(9).toString('hex')}.whole`)
  try {
    for (const folder of [fan, dirname(place)]) await makeFan(folder)
    await writeSynced(made, bytes)
    await rename(made, place)
  } catch (error) {
    await rm(made, { force: true }).catch(() => undefined)
    throw ioError(`write ${place}`, error)
  }
}

/** Removes what has arrived, and what was noted about it. */
export async function removePartial(path: string): Promise<void> {
  for (const left of [path, path + LEAVES]) await rm(left, { force: true })
}

/**
 * What is noted beside a file that arrives: the digests of its leaves, and one byte for each that says that it is there.
 * Nothing of it is trusted: digests must give the CID, and a leaf that is said to be there is hashed before it counts. So it
 * needs no order of writes, and a crash can't make it lie.
 */
export class LeafNotes {
  private constructor(
    private readonly handle: FileHandle,
    private readonly count: number,
  ) {}

  /** Opens the notes beside `partial` about a file of `count` leaves. */
  static async open(partial: string, count: number): Promise<LeafNotes> {
    return new LeafNotes(await open(partial + LEAVES, constants.O_RDWR | constants.O_CREAT, 0o644), count)
  }

  /** What is noted, unverified; undefined where it was never noted to the end. */
  async read(): Promise<{ digests: Uint8Array; there: Uint8Array } | undefined> {
    const bytes = new Uint8Array(this.count * (DIGEST + 1))
    const { bytesRead } = await this.handle.read(bytes, 0, bytes.byteLength, 0)
    if (bytesRead < bytes.byteLength) return undefined
    return { digests: bytes.slice(0, this.count * DIGEST), there: bytes.subarray(this.count * DIGEST) }
  }

  /** Notes the digests of all leaves. What another process has noted meanwhile stays. */
  async begin(digests: Uint8Array): Promise<void> {
    if (digests.byteLength !== this.count * DIGEST) throw new AssetError('CORRUPT', 'Cannot note leaves: their number is another')
    await writeAll(this.handle, digests, 0)
    await this.handle.truncate(this.count * (DIGEST + 1))
  }

  /** Notes that a leaf is there. */
  async add(leaf: number): Promise<void> {
    await this.handle.write(Uint8Array.of(1), 0, 1, this.count * DIGEST + leaf)
  }

  close(): Promise<void> {
    return this.handle.close()
  }
}

/** Writes all of the bytes at a position. */
export async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength; )
    done += (await handle.write(bytes, done, bytes.byteLength - done, position + done)).bytesWritten
}
