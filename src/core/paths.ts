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

/** Paths of one folder: tells when two can't both be there on every file system. */
export class FolderNames {
  private readonly files = new Map<string, string>()
  private readonly folders = new Map<string, string>()

  constructor(taken: Iterable<string> = []) {
    for (const path of taken) this.files.set(foldName(path), path)
  }

  /** Adds a file; gives the path that it clashes with, if any: itself in another spelling, or a file where it needs a folder. */
  add(path: string): string | undefined {
    const folded = foldName(path)
    const clash = this.files.get(folded) ?? this.folders.get(folded)
    if (clash !== undefined) return clash
    this.files.set(folded, path)
    for (let slash = path.lastIndexOf('/'); slash > 0; slash = path.lastIndexOf('/', slash - 1)) {
      const folder = path.slice(0, slash)
      const key = foldName(folder)
      const known = this.folders.get(key)
      if (known === folder) return undefined
      if (known !== undefined || this.files.has(key)) return known ?? this.files.get(key)
      this.folders.set(key, folder)
    }
    return undefined
  }
}
