import { CID } from 'multiformats/cid'
import { type Format, formatOf } from './format.js'
import { Refusal } from './refusal.js'

// No asset has a path with more parts than half of the characters that one may have.
const MOST_SEGMENTS = 256

/** Bytes of a file, both ends included; negative ones count from its end, none as the last means to the end. */
export interface EntityBytes {
  readonly from: number
  readonly to: number | undefined
}

/** How much of a DAG is wanted. */
export interface DagPart {
  readonly scope: 'all' | 'entity' | 'block'
  readonly bytes: EntityBytes | undefined
}

/** What a URL under /ipfs/ asks for. */
export interface GatewayRequest {
  readonly root: CID
  /** names from the root on */
  readonly path: readonly string[]
  readonly format: Format
  readonly part: DagPart
  /** what the client would like to call it */
  readonly filename: string | undefined
  /** the URL that says by itself which format this is, where the request's own does not */
  readonly location: string | undefined
}

/**
 * Reads a request for a block or a CAR, as the specification of trustless gateways has them.
 * @throws Refusal 400, 404 for what is not under /ipfs/, 406
 */
export function readRequest(url: string, accept: string | undefined): GatewayRequest {
  const [place = '', search = ''] = split(url, '?')
  const segments = place.split('/')
  if (segments[1] !== 'ipfs' || !segments[2])
    throw new Refusal(404, 'Cannot find anything there: ask for /ipfs/CID?format=raw or /ipfs/CID?format=car')
  const query = new URLSearchParams(search)
  const format = formatOf(query, accept)
  const root = cidOf(segments[2])
  const path = segments.slice(3).filter((segment) => segment !== '')
  if (format.type === 'raw' && path.length > 0)
    throw new Refusal(400, 'Cannot send a block by its path: ask for its own CID, or for the path as ?format=car')
  if (path.length > MOST_SEGMENTS) throw new Refusal(400, `Cannot follow the path: it has more than ${MOST_SEGMENTS} parts`)
  return {
    root,
    path: path.map(decoded),
    format,
    part: format.type === 'car' ? partOf(query) : { scope: 'block', bytes: undefined },
    filename: query.get('filename') || undefined,
    location: query.get('format') === format.type ? undefined : locationOf(place, query, format),
  }
}

function split(text: string, at: string): string[] {
  const index = text.indexOf(at)
  return index < 0 ? [text] : [text.slice(0, index), text.slice(index + 1)]
}

function cidOf(text: string): CID {
  try {
    return CID.parse(decodeURIComponent(text))
  } catch {
    throw new Refusal(400, `Cannot read the CID ${JSON.stringify(text.slice(0, 100))}: it is not a CID`)
  }
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    throw new Refusal(400, 'Cannot read the path: it is not percent-encoded UTF-8')
  }
}

function partOf(query: URLSearchParams): DagPart {
  const bytes = query.has('entity-bytes') ? entityBytes(query.get('entity-bytes')!) : undefined
  const scope = query.get('dag-scope') ?? (bytes ? 'entity' : 'all')
  if (scope !== 'all' && scope !== 'entity' && scope !== 'block')
    throw new Refusal(400, 'Cannot send such a part of the DAG: "dag-scope" can only be all, entity or block')
  return { scope, bytes }
}

function entityBytes(text: string): EntityBytes {
  const [, first, last] = /^(-?\d{1,16}):(-?\d{1,16}|\*)$/.exec(text) ?? []
  const [from, to] = [Number(first), last === '*' ? undefined : Number(last)]
  const isReversed = to !== undefined && from < 0 === to < 0 && from > to
  if (!Number.isSafeInteger(from) || (to !== undefined && !Number.isSafeInteger(to)) || isReversed)
    throw new Refusal(400, 'Cannot read "entity-bytes": give the first and the last byte, such as 0:1023, 1024:* or -1024:*')
  return { from, to }
}

function locationOf(place: string, query: URLSearchParams, format: Format): string {
  const full = new URLSearchParams(query)
  full.set('format', format.type)
  if (format.type === 'car') for (const name of ['order', 'dups'] as const) full.set(`car-${name}`, format[name])
  return `${place}?${full}`
}
