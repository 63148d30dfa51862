import { realpath } from 'node:fs/promises'
import { ioError } from '../core/errors.js'
import { PAGE } from '../core/limits.js'
import { type PlannedFile, partSize } from './pieces.js'

/**
 * A file of an asset whose data stays where it was: its own bytes are those of its header, the rest are those of another file
 * from `offset` on. Plain data, for threads.
 */
export interface Link {
  /** whole pages */
  readonly header: Uint8Array
  readonly source: { readonly path: string; readonly size: number }
  readonly offset: number
  /** bytes of it that are data of this file */
  readonly length: number
}

/**
 * The link that a planned file can be: where all of its data is one run of a file on this disk, as it is. Undefined for one
 * that is to be written: what is converted, gathered, or lies in several places.
 */
async function linkOf({ path, parts }: PlannedFile): Promise<Link | undefined> {
  const [head, ...data] = parts
  if (!path.startsWith('modules/') || !head || !('bytes' in head) || head.bytes.byteLength % PAGE !== 0) return undefined
  let run: { file: string; size: number; begin: number; end: number } | undefined
  for (const part of data) {
    if ('bytes' in part || 'to' in part || part.source.strided || part.source.file.isRemote) return undefined
    if (partSize(part) === 0) continue
    const { file, offset } = part.source
    const begin = offset + part.skip
    if (run && (run.file !== file.path || run.end !== begin)) return undefined
    run = { file: file.path, size: file.size, begin: run?.begin ?? begin, end: begin + part.length }
  }
  if (!run) return undefined
  // Where it is, whatever links lead to it now.
  const source = await realpath(run.file).catch((error: unknown) => {
    throw ioError(`link to ${run.file}`, error)
  })
  return { header: head.bytes, source: { path: source, size: run.size }, offset: run.begin, length: run.end - run.begin }
}

/** The links that files can be, by their paths. @throws AssetError 'IO' */
export async function linksOf(files: readonly PlannedFile[]): Promise<Map<string, Link>> {
  const links = new Map<string, Link>()
  for (const file of files) {
    const link = await linkOf(file)
    if (link) links.set(file.path, link)
  }
  return links
}
