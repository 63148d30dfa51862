/**
 * A source, or its address, as messages show it: without a password, and without what is asked for after a path, which may be as
 * good as one (signed URLs).
 */
export function shown(text: string): string {
  return text.replace(/\/\/[^/?#]*@/, '//').replace(/\?.*$/s, '?…')
}
