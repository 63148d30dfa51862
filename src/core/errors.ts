import { oneLine } from './one-line.js'

/** What went wrong, as a stable word that programs may test. */
export type ErrorCode =
  | 'ABORTED'
  | 'BAD_INPUT'
  | 'BAD_USAGE'
  | 'BUDGET_TOO_SMALL'
  | 'CLOSED'
  | 'CORRUPT'
  | 'ENGINE'
  | 'IN_USE'
  | 'IO'
  | 'LIMIT'
  | 'MISSING'
  | 'NOT_FOUND'
  | 'UNSUPPORTED'

/**
 * Every error of this library. `message` is one line: "Cannot <do> <what>: <why>", then what to do next; whatever names
 * are in it, it stays one line of bounded length.
 * `code` is stable; `cause` is the error underneath, where there is one.
 */
export class AssetError extends Error {
  override readonly name = 'AssetError'
  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(oneLine(message), options)
  }
}

/** Why an error happened, without what could not be done: for the message of an error that says that in its own words. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error instanceof AssetError ? error.message.replace(/^Cannot .*?: /, '') : error.message
}

/** Throws the AssetError 'ABORTED' when the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined, doing: string): void {
  if (signal?.aborted) throw new AssetError('ABORTED', `Cannot finish to ${doing}: it was cancelled`, { cause: signal.reason })
}

/** The operating system's code of an error (`ENOENT`, `ENOSPC`, ...), if it has one. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

const ADVICE: Record<string, string> = {
  ENOSPC: 'the disk is full; free some space and try again',
  EDQUOT: 'the disk quota is used up; free some space and try again',
  EACCES: 'permission denied; check who owns it',
  EPERM: 'the operation is not permitted; check who owns it',
  EROFS: 'the file system is read-only; choose another place',
  ENOENT: 'no such file or folder; check the path',
  ENOTDIR: 'a part of the path is not a folder; check the path',
  EISDIR: 'it is a folder; name a file',
  EEXIST: 'something is there already; name another place or remove it first',
  ELOOP: 'its links lead in a circle; check the path',
  ENXIO: 'it is not a file; name a file',
  EMFILE: 'too many open files; raise the limit (ulimit -n) or run fewer at once',
  ENFILE: 'too many open files on this machine; close some programs and try again',
  EIO: 'the disk reported an input/output error; check the disk',
}

/** Turns an error of the operating system into an AssetError 'IO' that says what to do; leaves an AssetError as it is. */
export function ioError(doing: string, error: unknown): AssetError {
  if (error instanceof AssetError) return error
  const code = systemCode(error)
  const why = (code && ADVICE[code]) ?? (error instanceof Error ? error.message : String(error))
  return new AssetError(code === 'ENOENT' ? 'NOT_FOUND' : 'IO', `Cannot ${doing}: ${why}`, { cause: error })
}
