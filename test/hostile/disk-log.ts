import fs from 'node:fs'

/**
 * One change of the disk, in the order in which they were done. Paths are absolute; `file` is a number of its own per
 * opened file or folder; `content` is the whole file in base64 as it is after the call.
 */
export type Change =
  | { readonly op: 'open'; readonly file: number; readonly path: string; readonly content?: string }
  | { readonly op: 'write'; readonly file: number; readonly content: string }
  | { readonly op: 'fsync'; readonly file: number }
  | { readonly op: 'mkdir'; readonly path: string }
  | { readonly op: 'rename'; readonly from: string; readonly to: string }
  | { readonly op: 'link'; readonly from: string; readonly to: string }
  | { readonly op: 'remove'; readonly path: string }
  /** a call of the product begins; has resolved, so that what it promises holds from here on */
  | { readonly op: 'begin'; readonly what: string }
  | { readonly op: 'done'; readonly what: string }

// As they were before they are watched.
const { openSync, writeSync, readFileSync } = fs
let log: number | undefined

/** Adds a change to the file $DISK_LOG, to which all threads append, each line at once; does nothing without one. */
export function logChange(change: () => Change): void {
  if (process.env.DISK_LOG === undefined) return
  log ??= openSync(process.env.DISK_LOG, 'a')
  writeSync(log, `${JSON.stringify(change())}\n`)
}

/** The bytes of a file as they are now, for the log. */
export function contentOf(path: string): string {
  return readFileSync(path).toString('base64')
}

/** The changes in a log. */
export function readLog(path: string): Change[] {
  const lines = readFileSync(path, 'utf8').split('\n')
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Change)
}
