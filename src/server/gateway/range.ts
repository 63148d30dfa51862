import type { IncomingMessage } from 'node:http'
import { Refusal } from './refusal.js'

/** Bytes `from` to `to`, both included. */
export interface ByteRange {
  readonly from: number
  readonly to: number
}

/**
 * The part of `size` bytes that a GET asks for by its Range header; undefined for all of it: also where it asks for several
 * parts, or for none that can be read, which a server may overlook.
 * @throws Refusal 416 where no byte is in the range
 */
export function rangeOf({ method, headers }: IncomingMessage, size: number, etag: string): ByteRange | undefined {
  const condition = headers['if-range']
  if (method !== 'GET' || (condition !== undefined && condition !== etag)) return undefined
  const [, first = '', last = ''] = /^bytes=(\d{0,16})-(\d{0,16})$/.exec(headers.range?.replaceAll(' ', '') ?? '') ?? []
  if (first === '' && last === '') return undefined
  const from = first === '' ? Math.max(size - Number(last), 0) : Number(first)
  const to = first === '' || last === '' ? size - 1 : Math.min(Number(last), size - 1)
  if (first !== '' && last !== '' && Number(last) < Number(first)) return undefined
  if (from >= size) throw new Refusal(416, `Cannot send that range: there are ${size} bytes`, { 'Content-Range': `bytes */${size}` })
  return { from, to }
}
