import { randomBytes } from 'node:crypto'
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { AssetError, systemCode } from '../core/errors.js'
import { writeSynced } from './durable.js'
import type { StoreLayout } from './layout.js'

const PREFIX = 'lock.'

/**
 * What the holder of the lock does to names that others need. All of it is renames out of a folder of its own or into it, and
 * whoever takes the lock takes the folders of earlier holders away first: so one that slept while its lock was taken over can
 * change nothing any more, whenever it wakes and whatever it was about to do.
 */
export class Change {
  private steps = 0

  private constructor(
    private readonly root: string,
    private readonly folder: string,
  ) {}

  /** To be called by whoever has just taken the lock. */
  static async begin({ root, staging }: StoreLayout): Promise<Change> {
    const token = randomBytes(9).toString('hex')
    // Made before it looks for others: of two who think that they hold the lock one sees the other.
    await mkdir(join(root, PREFIX + token))
    for (const name of await readdir(root)) {
      if (!/^lock\.[0-9a-f]{18}$/.test(name) || name === PREFIX + token) continue
      const lost = join(staging, randomBytes(9).toString('hex'))
      // One step, so that nothing is renamed into it any more while it is removed.
      await rename(join(root, name), lost).catch(orNothing)
      // Else it is swept when the store is opened.
      await rm(lost, { recursive: true, force: true }).catch(() => undefined)
    }
    return new Change(root, join(root, PREFIX + token))
  }

  /** Removes what is at a path, if anything is. @throws AssetError 'IO' where the lock is lost; the path stays as it is then */
  async remove(path: string): Promise<void> {
    const taken = await this.setAside(path)
    if (taken !== undefined) await rm(taken, { recursive: true, force: true })
  }

  /** Takes what is at a path away; resolves to where it is until this ends, or undefined where nothing was. @throws as {@link remove} */
  async setAside(path: string): Promise<string | undefined> {
    const aside = this.next()
    try {
      await this.held(() => rename(path, aside))
      return aside
    } catch (error) {
      return orNothing(error)
    }
  }

  /** Puts back what was set aside. @throws as {@link remove} */
  putBack(aside: string, path: string): Promise<void> {
    return this.held(() => rename(aside, path))
  }

  /** Writes a file so that a crash leaves the old one or the new one. The folder is the caller's to sync. @throws as {@link remove} */
  async write(path: string, bytes: Uint8Array): Promise<void> {
    const made = this.next()
    await this.held(async () => {
      await writeSynced(made, bytes)
      await rename(made, path)
    })
  }

  /** Resolves to false where the lock was lost meanwhile. */
  async end(): Promise<boolean> {
    return rm(this.folder, { recursive: true }).then(
      () => true,
      // What can't be removed now is taken away by the next holder.
      (error: unknown) => systemCode(error) !== 'ENOENT',
    )
  }

  private next(): string {
    return join(this.folder, String(this.steps++))
  }

  private async held(step: () => Promise<void>): Promise<void> {
    try {
      await step()
    } catch (error) {
      const isHeld = await stat(this.folder).catch(orNothing)
      if (isHeld) throw error
      throw new AssetError('IO', `Cannot change the store ${this.root}: another process took over meanwhile; try again`, { cause: error })
    }
  }
}

function orNothing(error: unknown): undefined {
  if (systemCode(error) !== 'ENOENT') throw error
}
