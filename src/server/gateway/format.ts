import { MIMEType } from 'node:util'
import { Refusal } from './refusal.js'

export const RAW = 'application/vnd.ipld.raw'
export const CAR = 'application/vnd.ipld.car'

/** Parameters of a CAR, as the content type has them (IPIP-412); the order of our blocks is always depth-first. */
export interface CarShape {
  readonly order: 'dfs' | 'unk'
  /** whether a block is sent each time that it occurs */
  readonly dups: 'y' | 'n'
}

/** What a client wants to get: one block, or a CAR. */
export type Format = { readonly type: 'raw' } | ({ readonly type: 'car' } & CarShape)

/**
 * Reads what a client wants off its URL, which comes first, and its Accept header.
 * @throws Refusal 400 where it says nothing, 406 where it is neither a block nor a CAR as we can make it
 */
export function formatOf(query: URLSearchParams, accept: string | undefined): Format {
  const named = query.get('format')
  const wishes = wishesOf(accept)
  if (named === 'raw') return { type: 'raw' }
  if (named === 'car') return carOf(query, wishes.find(({ essence }) => essence === CAR)?.params)
  if (named !== null) throw notAcceptable(`the format ${JSON.stringify(named.slice(0, 40))} is not offered`)
  let refused: unknown
  for (const { essence, params } of wishes) {
    if (essence === RAW) return { type: 'raw' }
    if (essence !== CAR) continue
    try {
      return carOf(query, params)
    } catch (error) {
      refused ??= error
    }
  }
  if (refused) throw refused
  if (accept === undefined) throw new Refusal(400, 'Cannot tell what to send: add ?format=raw or ?format=car to the URL')
  throw notAcceptable('only what a client can verify is sent')
}

function notAcceptable(why: string): Refusal {
  return new Refusal(406, `Cannot send what was asked for: ${why}; ask for ?format=raw or ?format=car`)
}

/** The content type of a CAR. */
export function carType({ order, dups }: CarShape): string {
  return `${CAR}; version=1; order=${order}; dups=${dups}`
}

function carOf(query: URLSearchParams, params: MIMEType['params'] | undefined): Format {
  const wished = (name: string) => query.get(`car-${name}`) || params?.get(name) || undefined
  const [version, order = 'dfs', dups = 'n'] = [wished('version'), wished('order'), wished('dups')]
  if (version !== undefined && version !== '1') throw notCar('version', '1')
  if (order !== 'dfs' && order !== 'unk') throw notCar('order', 'dfs or unk')
  if (dups !== 'y' && dups !== 'n') throw notCar('dups', 'y or n')
  return { type: 'car', order, dups }
}

function notCar(name: string, values: string): Refusal {
  return new Refusal(400, `Cannot send such a CAR: "${name}" can only be ${values}`)
}

/** The media types of an Accept header, best first; what is none is passed over. */
function wishesOf(accept: string | undefined): MIMEType[] {
  const wishes: { type: MIMEType; quality: number }[] = []
  for (const part of (accept ?? '').split(',')) {
    try {
      const type = new MIMEType(part)
      const quality = Number(type.params.get('q') ?? 1)
      if (quality > 0) wishes.push({ type, quality })
    } catch {}
  }
  return wishes.sort((a, b) => b.quality - a.quality).map(({ type }) => type)
}
