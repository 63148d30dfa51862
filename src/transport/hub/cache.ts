import { readdir, realpath, stat } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'
import { AssetError, ioError, systemCode } from '../../core/errors.js'
import { LIMITS } from '../../core/limits.js'
import { readSmallFile } from '../../core/read.js'

/** A file that the cache has: where it really is, and its bytes. */
export interface CachedFile {
  readonly path: string
  readonly size: number
}

/**
 * The cache of a repository that Hugging Face's tools share: `refs/REVISION` has the commit, `snapshots/COMMIT` links to the
 * files. Links may lead to anything in the cache and to nothing else.
 */
export class HubCache {
  /** `folder`: the cache; `name`: that of the repository's folder in it */
  constructor(
    private readonly folder: string,
    private readonly name: string,
  ) {}

  /** The commit that a branch or tag was when it was looked up last. @throws AssetError 'BAD_INPUT' | 'IO' */
  async commitOf(revision: string): Promise<string | undefined> {
    const path = await this.inside(join('refs', revision))
    const text =
      path &&
      Buffer.from(await readSmallFile(path, 1024))
        .toString('latin1')
        .trim()
    return text && /^[0-9a-f]{40}$/.test(text) ? text : undefined
  }

  /** The files of a commit that are here, by their paths in the repository. @throws AssetError 'BAD_INPUT' where one leads outside, 'LIMIT', 'IO' */
  async filesOf(commit: string): Promise<Map<string, CachedFile>> {
    const snapshot = join('snapshots', commit)
    const files = new Map<string, CachedFile>()
    const entries = await readdir(join(this.folder, this.name, snapshot), { recursive: true, withFileTypes: true }).catch(
      (error: unknown) => {
        if (systemCode(error) !== 'ENOENT') throw ioError(`look into the cache ${this.folder}`, error)
        return []
      },
    )
    if (entries.length > LIMITS.hubFiles)
      throw new AssetError('LIMIT', `Cannot look into ${join(this.folder, this.name)}: it has more than ${LIMITS.hubFiles} files`)
    for (const entry of entries) {
      if (entry.isDirectory()) continue
      const path = relative(join(this.folder, this.name), join(entry.parentPath, entry.name))
      const place = await this.inside(path)
      const facts = place === undefined ? undefined : await stat(place).catch(() => undefined)
      if (facts?.isFile()) files.set(relative(snapshot, path).replaceAll('\\', '/'), { path: place!, size: facts.size })
    }
    return files
  }

  /** Where a path in the repository's folder really is; undefined where nothing is there. @throws AssetError 'BAD_INPUT' outside of the cache */
  private async inside(path: string): Promise<string | undefined> {
    const place = join(this.folder, this.name, path)
    try {
      const [root, real] = await Promise.all([realpath(this.folder), realpath(place)])
      if (real.startsWith(root.endsWith(sep) ? root : root + sep)) return real
    } catch (error) {
      // A link to what was removed is as good as none.
      if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined
      throw ioError(`look into the cache ${this.folder}`, error)
    }
    throw new AssetError('BAD_INPUT', `Cannot read ${place}: it leads outside of the cache ${this.folder}; remove it`)
  }
}
