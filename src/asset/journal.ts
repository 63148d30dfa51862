import { createHash } from 'node:crypto'
import { appendFile } from 'node:fs/promises'
import { LIMITS } from '../core/limits.js'
import { readSmallFile } from '../core/read.js'
import { type Piece, type PlannedFile, partSize } from './pieces.js'
import type { FileSums } from './sums.js'

/** What is noted of a piece of a file that was written. */
interface Note {
  readonly path: string
  readonly at: number
  readonly size: number
  /** the SHA-256 of its leaves, one after the other, in base64 */
  readonly leaves: string
}

/**
 * Notes which pieces of an asset have been written, so that another run can go on where one was interrupted. Nothing in it is
 * trusted: a piece counts when the bytes that lie there have these digests. So it needs no order of writes.
 */
export class Journal {
  private constructor(
    private readonly path: string,
    private readonly known: ReadonlyMap<string, string>,
  ) {}

  /** Opens the journal at `path`, empty where there is none yet. */
  static async open(path: string): Promise<Journal> {
    const bytes = await readSmallFile(path, LIMITS.json).catch(() => new Uint8Array(0))
    const known = new Map<string, string>()
    for (const line of Buffer.from(bytes).toString('utf8').split('\n')) {
      const note = noteOf(line)
      if (note) known.set(`${note.path} ${note.at} ${note.size}`, note.leaves)
    }
    return new Journal(path, known)
  }

  /** True where a piece was noted: then its bytes may be there. */
  has({ path, at, size }: Pick<Piece, 'at' | 'size'> & { readonly path: string }): boolean {
    return this.known.has(`${path} ${at} ${size}`)
  }

  /** True where bytes with these sums are those of the piece of this file that begins at `at`. */
  isRight(path: string, at: number, { size, leaves }: FileSums): boolean {
    return this.known.get(`${path} ${at} ${size}`) === Buffer.from(leaves).toString('base64')
  }

  /** Notes pieces that are written and synced. */
  async add(pieces: readonly { readonly path: string; readonly at: number; readonly sums: FileSums }[]): Promise<void> {
    const lines = pieces.map(({ path, at, sums: { size, leaves } }) =>
      JSON.stringify({ path, at, size, leaves: Buffer.from(leaves).toString('base64') } satisfies Note),
    )
    // The line end comes first: it ends a line that was cut off.
    await appendFile(this.path, lines.map((line) => `\n${line}`).join(''))
  }
}

function noteOf(line: string): Note | undefined {
  try {
    const { path, at, size, leaves } = JSON.parse(line) as Partial<Note>
    return typeof path === 'string' && typeof leaves === 'string' ? { path, at: Number(at), size: Number(size), leaves } : undefined
  } catch {
    // Cut off in the middle.
    return undefined
  }
}

/** A name for what these files are made of and how, the same in each run: where it is another, nothing that is there is of use. */
export function fingerprint(files: readonly PlannedFile[]): string {
  const hash = createHash('sha256')
  const add = (value: unknown) => hash.update(`${JSON.stringify(value)}\n`)
  for (const { path, size, parts } of files) {
    add([path, size])
    for (const part of parts) {
      if ('bytes' in part) hash.update(part.bytes)
      else {
        const { source, skip, length, ...conversion } = part
        const { file, offset, strided } = source
        add([file.path, file.size, file.mtimeMs, offset, strided, skip, length, conversion])
      }
      add(partSize(part))
    }
  }
  return hash.digest('hex').slice(0, 32)
}
