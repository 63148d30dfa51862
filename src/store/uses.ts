import { randomBytes } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { makeFolder } from '../asset/write-asset.js'
import { AssetError, systemCode } from '../core/errors.js'
import { isMarked, mark } from './marks.js'

/** Which assets processes use, said by marks in a folder of the store. */
export class Uses {
  constructor(private readonly folder: string) {}

  /** Says that this process uses the asset `key`, whether it is there or is to arrive, until the call that this resolves to. */
  async mark(key: string): Promise<() => Promise<void>> {
    try {
      await makeFolder(this.folder)
      return await mark(join(this.folder, `${key}-${randomBytes(9).toString('hex')}`))
    } catch (error) {
      // In a store that can't be written to nobody removes anything.
      if (isReadOnly(error)) return async () => undefined
      throw error
    }
  }

  /** True while a living process says that it uses the asset `key`. */
  async has(key: string): Promise<boolean> {
    for (const name of await readdir(this.folder))
      if (name.startsWith(`${key}-`) && (await isMarked(join(this.folder, name.replace(/\.lock$/, ''))))) return true
    return false
  }
}

/** True where the system says, in an error or beneath one, that this process may not write there. */
export function isReadOnly(error: unknown): boolean {
  const code = systemCode(error instanceof AssetError ? error.cause : error)
  return code === 'EROFS' || code === 'EACCES' || code === 'EPERM'
}
