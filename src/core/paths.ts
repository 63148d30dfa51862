/** Compares by UTF-8 bytes, the order of every list in an asset. */
export function compareUtf8(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8'))
}

/**
 * True for a relative path with `/` that stays inside its folder on every platform: no empty, `.` or `..` segment,
 * no backslash, colon, NUL or control character, no segment above 255 bytes or with a dot or space at its end (Windows
 * drops those, so that `.. ` would leave the folder).
 */
export function isSafePath(path: string): boolean {
  if (path.length === 0 || path.length > 4096 || !path.isWellFormed()) return false
  return path.split('/').every((segment) => {
    if (segment === '' || segment === '.' || segment === '..' || Buffer.byteLength(segment) > 255) return false
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
    return !/[\\:\u0000-\u001f\u007f]|[. ]$/.test(segment)
  })
}

/** One text for all spellings of a name that some file system takes for the same: case, and composed or decomposed characters. */
export function foldName(name: string): string {
  return name.normalize('NFC').toUpperCase().toLowerCase().normalize('NFC')
}

/** What has a name in a folder: a file, or (`entries`) a folder by the folded names in it. */
interface Named {
  readonly name: string
  readonly entries?: Map<string, Named>
}

/** Paths of one folder: tells when two can't both be there on every file system. Memory grows with the names alone. */
export class FolderNames {
  private readonly top = new Map<string, Named>()
  private made = 0

  constructor(taken: Iterable<string> = []) {
    for (const path of taken) this.add(path)
  }

  /** Folders that the paths need. */
  get folders(): number {
    return this.made
  }

  /** Adds a file; gives the path that it clashes with, if any: itself in another spelling, or a file where it needs a folder. */
  add(path: string): string | undefined {
    const names = path.split('/')
    const name = names.pop()!
    const folder = this.folderAt(names)
    if (typeof folder === 'string') return folder
    const key = foldName(name)
    const known = folder.get(key)
    if (known) return [...names, known.name].join('/')
    folder.set(key, { name })
    return undefined
  }

  /** The folder at a path, made where it is missing; or the path that it clashes with. */
  private folderAt(names: readonly string[]): Map<string, Named> | string {
    let folder = this.top
    for (const [depth, name] of names.entries()) {
      const key = foldName(name)
      const known = folder.get(key)
      if (known && (known.name !== name || !known.entries)) return [...names.slice(0, depth), known.name].join('/')
      const entries = known?.entries ?? new Map<string, Named>()
      if (!known) {
        folder.set(key, { name, entries })
        this.made += 1
      }
      folder = entries
    }
    return folder
  }
}
