import { stat } from 'node:fs/promises'
import type { Link } from '../asset/link.js'
import type { AssetFile } from '../asset/sums.js'
import { AssetError } from '../core/errors.js'
import { parseJsonObject } from '../core/json.js'
import { LIMITS, PAGE } from '../core/limits.js'
import { openFile, type Readable, readSmallFile } from '../core/read.js'
import type { StoreLayout } from './layout.js'

/** Where the bytes of a file of an asset are: in a file of their own, or as a link says. */
export interface Place {
  readonly path: string
  readonly link?: Link
}

/** What is read of an opened place; positions are those of the asset's file. */
export interface OpenPlace extends Readable {
  readonly size: number
  readv(targets: Uint8Array[], position: number): Promise<{ readonly bytesRead: number }>
  close(): Promise<void>
}

/** A link as the bytes of its file in the store. */
export function encodeLink({ header, source, offset }: Link): Uint8Array {
  return Buffer.from(`${JSON.stringify({ ...source, offset, header: Buffer.from(header).toString('base64') })}\n`)
}

function decodeLink(bytes: Uint8Array, what: string, { size }: Pick<AssetFile, 'size'>): Link {
  const { path, size: whole, offset, header } = parseJsonObject(bytes, what)
  const head = typeof header === 'string' ? new Uint8Array(Buffer.from(header, 'base64')) : undefined
  const isSize = (value: unknown): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
  const isRight = head && head.byteLength % PAGE === 0 && head.byteLength <= size && typeof path === 'string' && !path.includes('\0')
  if (!isRight || !isSize(whole) || !isSize(offset) || offset + size - head.byteLength > whole)
    throw new AssetError('CORRUPT', `Cannot read ${what}: it is no link; fragment the checkpoint again`)
  return { header: head, source: { path, size: whole }, offset, length: size - head.byteLength }
}

/** Where a store has a file: what lies there as a file of its own comes first. @throws AssetError 'CORRUPT' | 'IO' */
export async function placeIn(layout: StoreLayout, file: Pick<AssetFile, 'cid' | 'size'>): Promise<Place> {
  const key = String(file.cid)
  const path = layout.file(key)
  const isThere = await stat(path).then(
    () => true,
    () => false,
  )
  if (isThere) return { path }
  const bytes = await readSmallFile(layout.link(key), LIMITS.json).catch((error: AssetError) => {
    if (error.code !== 'NOT_FOUND') throw error
  })
  if (!bytes) return { path }
  const link = decodeLink(bytes, layout.link(key), file)
  return { path: link.source.path, link }
}

/** True where a file is in a store as a link, and what it leads to has the size that it had. */
export async function isLinked(layout: StoreLayout, file: Pick<AssetFile, 'cid' | 'size'>): Promise<boolean> {
  const { link } = await placeIn(layout, file).catch(() => ({ link: undefined }))
  if (!link) return false
  const facts = await stat(link.source.path).catch(() => undefined)
  return facts?.isFile() === true && facts.size === link.source.size
}

/**
 * Opens a place for reading. `what` names the file in errors, and so does where it is linked to.
 * @throws AssetError 'NOT_FOUND' | 'IO'; 'CORRUPT' where what it is linked to is gone or another
 */
export async function openPlace(place: Place | string, what: string): Promise<OpenPlace> {
  const { path, link } = typeof place === 'string' ? { path: place } : place
  if (!link) {
    const { handle, facts } = await openFile(path, what)
    return Object.assign(handle, { size: facts.size })
  }
  const { header, source, offset, length } = link
  const size = header.byteLength + length
  const { handle, facts } = await openFile(path, path).catch((error: AssetError) => {
    throw error.code === 'NOT_FOUND' || error.code === 'BAD_INPUT' ? unlinked(what, path, 'is gone', error) : error
  })
  if (facts.size !== source.size) {
    await handle.close()
    throw unlinked(what, path, `has ${facts.size} bytes and had ${source.size}`)
  }
  const readv = async (targets: Uint8Array[], position: number) => {
    if (position >= header.byteLength) return handle.readv(targets, position - header.byteLength + offset)
    const part = header.subarray(position, position + targets[0]!.byteLength)
    targets[0]!.set(part)
    return { bytesRead: part.byteLength }
  }
  return {
    size,
    readv,
    read: async (target, at, length, position) => {
      const most = Math.min(length, size - position)
      return most > 0 ? readv([target.subarray(at, at + most)], position) : { bytesRead: 0 }
    },
    close: () => handle.close(),
  }
}

/** Opens a place as {@link openPlace} does, hands it over, and closes it. @throws AssetError */
export async function withPlace<T>(place: Place, what: string, use: (opened: OpenPlace) => Promise<T>): Promise<T> {
  const opened = await openPlace(place, what)
  try {
    return await use(opened)
  } finally {
    await opened.close()
  }
}

/** Why a file that is linked can't be read. */
export function unlinked(what: string, path: string, why: string, cause?: unknown): AssetError {
  return new AssetError(
    'CORRUPT',
    `Cannot read ${what}: it is linked to ${path}, which ${why}; put that back, or fragment the checkpoint again`,
    { cause },
  )
}
