import { constants } from 'node:fs'
import { realpath } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join, resolve, sep } from 'node:path'
import { AssetError, ioError } from '../../core/errors.js'
import { LIMITS } from '../../core/limits.js'
import { isSafePath } from '../../core/paths.js'
import { openFile } from '../../core/read.js'
import type { ExternalData } from '../../graph/external.js'
import { quoted } from '../../graph/names.js'
import { type SourceFile, sourceFile, sourceFileAt } from '../checkpoint.js'
import { isMounted } from '../mounts.js'

/**
 * The files beside a model that its tensors name. A location is a path inside the model's folder, and what is there must
 * be a file of its own: no link leads out of the folder, but for those of the Hugging Face cache, which is all links.
 * Each file is opened once, and whoever reads it later must find the same one.
 */
export class OutsideFiles {
  private readonly files = new Map<string, Promise<SourceFile>>()

  /** `model` is the path of the model as it was named. */
  constructor(private readonly model: string) {}

  /** The file that a tensor's data is in. @throws AssetError 'BAD_INPUT' | 'NOT_FOUND' | 'LIMIT' | 'IO' */
  async fileOf(tensor: string, { location, offset, length }: ExternalData): Promise<SourceFile> {
    let file = this.files.get(location)
    if (!file) {
      if (this.files.size >= LIMITS.shards)
        throw new AssetError('LIMIT', `Cannot read ${this.model}: its tensors lie in more than ${LIMITS.shards} files`)
      file = this.open(location)
      this.files.set(location, file)
    }
    const { path, size } = await file
    if (offset + length > size)
      throw this.bad(`tensor ${quoted(tensor)} ends at byte ${offset + length} of ${path}, which has ${size}; it is cut off, get it again`)
    return file
  }

  private async open(location: string): Promise<SourceFile> {
    if (!isSafePath(location)) throw this.bad(`the external location ${quoted(location)} is no plain path inside its folder`)
    if (isMounted(this.model)) return sourceFileAt(join(dirname(this.model), location))
    const named = dirname(resolve(this.model))
    const [folder, path] = await Promise.all([real(named), real(join(named, location))])
    const cache = await trustedCache(folder)
    if (path !== join(folder, location) && !(cache && path.startsWith(cache)))
      throw this.bad(`the external location ${quoted(location)} is a link; put the file itself there`)
    // The path has no links now; one that takes the place of its last part meanwhile is not followed.
    const { handle, facts } = await openFile(path, path, constants.O_NOFOLLOW ?? 0)
    try {
      if (facts.nlink > 1 && !cache)
        throw this.bad(`the external location ${quoted(location)} is a hard link; put a copy of the file there`)
      if ((await real(join(named, location))) !== path)
        throw this.bad(`the external location ${quoted(location)} changed while it was opened`)
      return sourceFile(path, facts)
    } finally {
      await handle.close()
    }
  }

  private bad(why: string): AssetError {
    return new AssetError('BAD_INPUT', `Cannot read ${this.model}: ${why}`)
  }
}

/** The Hugging Face cache, as the start of the paths in it, where the folder lies in there. */
async function trustedCache(folder: string): Promise<string | undefined> {
  const { HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME } = process.env
  const home = HF_HOME ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface')
  const cache = await realpath(HF_HUB_CACHE ?? join(home, 'hub')).catch(() => undefined)
  return cache !== undefined && folder.startsWith(cache + sep) ? cache + sep : undefined
}

function real(path: string): Promise<string> {
  return realpath(path).catch((error: unknown) => {
    throw ioError(`open ${path}`, error)
  })
}
