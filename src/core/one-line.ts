const MOST = 1000
const HEAD = 690
const TAIL = 300

/** Control characters and line separators as their codes: a name from outside must not steer a terminal or break a line. */
export function harmless(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** A text as one line of at most 1,000 characters; what is too much goes from the middle, since what to do comes last. */
export function oneLine(text: string): string {
  // Shortened before as well: a name of megabytes is not worth replacing each of its characters.
  return shortened(harmless(shortened(text)))
}

function shortened(text: string): string {
  return text.length <= MOST ? text : `${text.slice(0, HEAD)} ... ${text.slice(-TAIL)}`.toWellFormed()
}
