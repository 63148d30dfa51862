const LONGEST = 100

/** Text out of a file as a message may show it: quoted, at most 100 characters of it, nothing that a terminal would obey. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > LONGEST ? `${text.slice(0, LONGEST)}...` : text)
}

/** A name out of a file in a message: as it is where it is plain, else quoted and cut. */
export function shown(name: string): string {
  return name.length <= LONGEST && /^[\w./:@-]+$/.test(name) ? name : quoted(name)
}
