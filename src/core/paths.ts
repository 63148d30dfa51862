/** Compares by UTF-8 bytes, the order of every list in an asset. */
export function compareUtf8(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8'))
}

/**
 * True for a relative path with `/` that stays inside its folder on every platform: no empty, `.` or `..` segment,
 * no backslash, colon, NUL or control character, no segment above 255 bytes.
 */
export function isSafePath(path: string): boolean {
  if (path.length === 0 || path.length > 4096 || !path.isWellFormed()) return false
  return path.split('/').every((segment) => {
    if (segment === '' || segment === '.' || segment === '..' || Buffer.byteLength(segment) > 255) return false
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
    return !/[\\:\u0000-\u001f\u007f]/.test(segment)
  })
}
