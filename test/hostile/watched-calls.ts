import fs from 'node:fs'
import { dirname, resolve, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { threadId } from 'node:worker_threads'
import { contentOf, logChange } from './disk-log.js'
import type { Kind } from './faults.js'

/** A call of `node:fs` that concerns the watched folder. */
export interface WatchedCall {
  readonly kind: Kind
  readonly path: string
  /** to be called after the call with what it gave */
  readonly done?: (result?: unknown) => void
  /** how to call it instead where it fails: half of a write reaches the disk */
  readonly half?: unknown[]
  /** counted and logged, but not made */
  readonly skip?: boolean
}

interface OpenFile {
  readonly path: string
  readonly file: number
}

const root = process.env.WATCHED ?? resolve(sep, 'nowhere')
const files = new Map<number, OpenFile>()
let opened = threadId * 1_000_000

let own = 0

/** Makes a call without watching the calls of `node:fs` that it is made of. */
export function unwatched<T>(call: () => T): T {
  own++
  try {
    return call()
  } finally {
    own--
  }
}

/** The full path, where it lies in the watched folder. */
export function watchedPath(path: unknown): string | undefined {
  if (own > 0 || (typeof path !== 'string' && !(path instanceof URL) && !(path instanceof Uint8Array))) return undefined
  const full = resolve(path instanceof URL ? fileURLToPath(path) : Buffer.from(path as string).toString())
  return full === root || full.startsWith(root + sep) ? full : undefined
}

function writes(flags: unknown): boolean {
  return typeof flags === 'number' ? (flags & (fs.constants.O_WRONLY | fs.constants.O_RDWR)) !== 0 : /[wa+]/.test(String(flags ?? 'r'))
}

const reading = (_: unknown[], path: string): WatchedCall => ({ kind: 'open', path })
const removing = (_: unknown[], path: string): WatchedCall => ({
  kind: 'remove',
  path,
  done: () => logChange(() => ({ op: 'remove', path })),
})

/** What calls on paths are. */
export const pathCalls: Readonly<Record<string, (args: unknown[], path: string) => WatchedCall>> = {
  open: ([, flags], path) => ({
    kind: 'open',
    path,
    done: (result) => {
      const file = ++opened
      files.set(typeof result === 'number' ? result : (result as fs.promises.FileHandle).fd, { path, file })
      logChange(() => ({ op: 'open', file, path, ...(writes(flags) && { content: contentOf(path) }) }))
    },
  }),
  readFile: reading,
  readdir: reading,
  opendir: reading,
  copyFile: ([, target]) => {
    const [path, file] = [resolve(String(target)), ++opened]
    return { kind: 'write', path, done: () => logChange(() => ({ op: 'open', file, path, content: contentOf(path) })) }
  },
  mkdir: (_, path) => {
    const made: string[] = []
    for (let at = path; !fs.existsSync(at); at = dirname(at)) made.unshift(at)
    const done = () => {
      for (const folder of made) logChange(() => ({ op: 'mkdir', path: folder }))
    }
    return { kind: 'mkdir', path, done }
  },
  rename: ([, target], from) => {
    const to = resolve(String(target))
    return { kind: 'rename', path: to, done: () => logChange(() => ({ op: 'rename', from, to })) }
  },
  // A name more for the same file.
  link: ([, target], from) => {
    const to = resolve(String(target))
    return { kind: 'rename', path: to, done: () => logChange(() => ({ op: 'link', from, to })) }
  },
  unlink: removing,
  rmdir: removing,
  rm: removing,
}

const writing = ({ path, file }: OpenFile): WatchedCall => ({
  kind: 'write',
  path,
  done: () => logChange(() => ({ op: 'write', file, content: contentOf(path) })),
})
const syncing = (_: unknown[], { path, file }: OpenFile): WatchedCall => ({
  kind: 'fsync',
  path,
  skip: true,
  done: () => logChange(() => ({ op: 'fsync', file })),
})

/** What calls on open files are; `args` are those after the descriptor. */
export const fileCalls: Readonly<Record<string, (args: unknown[], file: OpenFile) => WatchedCall>> = {
  write: ([bytes, offset, length, ...rest], file) => ({
    ...writing(file),
    ...(typeof offset === 'number' && typeof length === 'number' && { half: [bytes, offset, length >> 1, ...rest] }),
  }),
  writeFile: ([bytes, ...rest], file) => ({
    ...writing(file),
    ...(bytes instanceof Uint8Array && { half: [bytes.subarray(0, bytes.byteLength >> 1), ...rest] }),
  }),
  writev: (_, file) => writing(file),
  appendFile: (_, file) => writing(file),
  truncate: (_, file) => writing(file),
  sync: syncing,
  datasync: syncing,
}

/** The watched file that a descriptor is, if it is one. */
export function watchedFile(fd: unknown): OpenFile | undefined {
  return own > 0 ? undefined : files.get(Number(fd))
}

/** A descriptor is about to be closed: its number may be another file's at once. */
export function forget(fd: unknown): void {
  files.delete(Number(fd))
}
