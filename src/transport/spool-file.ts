import { createHash, randomBytes } from 'node:crypto'
import { constants, type FileHandle, open, readdir, rm, stat, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeFolder } from '../asset/write-asset.js'
import { AssetError, reasonOf } from '../core/errors.js'
import type { StoreLayout } from '../store/layout.js'
import { BlockPlaces } from './block-places.js'
import { indexBeginning } from './car-index.js'

// What a server calls a version is part of a file's name, of which 255 bytes are to be had.
const MOST_VERSION = 80

/** Where CARs that come as one stream lie while they come, and what becomes of what has come. */
export interface SpoolPlace {
  /** made when it is needed */
  readonly folder: string
  /** what the names of files begin with that another process may go on with; there are none where left out */
  readonly name?: string
  /** whether what has come is worth keeping, asked at the end */
  isKept?(): Promise<boolean>
}

/** A place for CARs of which nothing is kept. */
export const TEMPORARY: SpoolPlace = { folder: tmpdir() }

/** A place on the disk of a store, which has room for an asset, for CARs with that; what has come is kept until all of the asset is there. */
export function spoolsIn(layout: StoreLayout, cid: string): SpoolPlace {
  const isKept = () =>
    stat(layout.arrival(cid)).then(
      () => true,
      () => false,
    )
  return { folder: layout.partialFan(cid), name: cid, isKept }
}

/** The beginning of a CAR on disk, byte for byte as it came, and where its blocks are in there. */
export class SpoolFile {
  private constructor(
    readonly handle: FileHandle,
    /** bytes that may be added: half of what the disk has */
    readonly room: number,
    /** what the server calls these bytes; undefined where it may give others the next time */
    readonly version: string | undefined,
    readonly places: BlockPlaces,
    /** where the last whole section ends, or the header */
    public end: number,
    private readonly path: string | undefined,
  ) {
    this.foundUpTo = end
  }

  /** what another process wrote: a crash may have lost some of it, so each block of it is to be verified */
  readonly foundUpTo: number

  /** What has come of a CAR before, if anything. */
  static async found(place: SpoolPlace, address: string, what: string): Promise<SpoolFile | undefined> {
    if (place.name === undefined) return undefined
    const beginning = beginningOf(place.name, address)
    for (const name of await readdir(place.folder).catch(() => [])) {
      const [, hex] = name.startsWith(beginning) ? (/^((?:[0-9a-f]{2})+)\.car$/.exec(name.slice(beginning.length)) ?? []) : []
      if (hex === undefined) continue
      const path = join(place.folder, name)
      return opening(place, async () => {
        const handle = await open(path, 'r+')
        const { places, end } = await indexBeginning(handle, (await handle.stat()).size, what)
        return new SpoolFile(handle, await roomIn(place), Buffer.from(hex, 'hex').toString(), places, end, path)
      }).catch(() => undefined)
    }
    return undefined
  }

  /** A new file. Processes that write the same version share it: at each place they write the same. @throws AssetError 'IO' */
  static async create(place: SpoolPlace, address: string, what: string, version: string | undefined): Promise<SpoolFile> {
    return opening(place, async () => {
      await makeFolder(place.folder)
      const room = await roomIn(place)
      const places = new BlockPlaces(what)
      const hex = Buffer.from(version ?? '').toString('hex')
      if (place.name !== undefined && hex !== '' && hex.length <= MOST_VERSION * 2) {
        const path = join(place.folder, `${beginningOf(place.name, address)}${hex}.car`)
        return new SpoolFile(await open(path, constants.O_RDWR | constants.O_CREAT, 0o644), room, version, places, 0, path)
      }
      const path = join(place.folder, `${place.name ?? 'masset'}.${randomBytes(9).toString('hex')}.car`)
      const handle = await open(path, 'wx+')
      // Where the system allows it the name goes at once, so that nothing stays of a process that is killed.
      if (process.platform === 'win32') return new SpoolFile(handle, room, version, places, 0, path)
      await rm(path)
      return new SpoolFile(handle, room, version, places, 0, undefined)
    })
  }

  /** Closes it; what is not kept goes. */
  async close(isKept = false): Promise<void> {
    await this.handle.close()
    if (this.path !== undefined && !isKept) await rm(this.path, { force: true }).catch(() => undefined)
  }
}

function beginningOf(name: string, address: string): string {
  return `${name}.${createHash('sha256').update(address).digest('hex').slice(0, 16)}.`
}

async function roomIn({ folder }: SpoolPlace): Promise<number> {
  const { bavail, bsize } = await statfs(folder)
  return Math.floor((bavail * bsize) / 2)
}

async function opening<T>({ folder }: SpoolPlace, open: () => Promise<T>): Promise<T> {
  try {
    return await open()
  } catch (error) {
    throw new AssetError('IO', `Cannot keep a CAR in ${folder}: ${reasonOf(error)}; make sure that it can be written`, { cause: error })
  }
}
