import { fileURLToPath } from 'node:url'
import { AssetError, reasonOf } from '../core/errors.js'
import type { Store } from '../store/store.js'
import { arweave } from './arweave.js'
import type { Broker } from './broker.js'
import { carFile } from './car-file.js'
import { ceramic } from './ceramic.js'
import { filecoin, ipfs } from './filecoin.js'
import { folderSource } from './folder-source.js'
import { gateway } from './gateway.js'
import { kubo } from './kubo.js'
import { shown } from './shown.js'
import { type SpoolPlace, spoolsIn, TEMPORARY } from './spool-file.js'
import { webSource } from './web-car.js'

/** Who is asked for what names no server, where what comes as a whole lies meanwhile, and whether the source was chosen by others. */
interface Asking {
  readonly env: NodeJS.ProcessEnv
  readonly spools: SpoolPlace
  readonly isForeign: boolean
}

type Kind = (rest: string, text: string, asking: Asking) => Broker[]

/** Servers that are asked where nothing else is said: the variable that names others, separated by commas, and the usual ones. */
const SERVERS = {
  ipfs: ['MODULE_ASSETS_IPFS_GATEWAYS', 'https://trustless-gateway.link'],
  filecoin: ['MODULE_ASSETS_FILECOIN_GATEWAYS', 'https://trustless-gateway.link'],
  arweave: ['MODULE_ASSETS_ARWEAVE_GATEWAYS', 'https://arweave.net'],
  ceramic: ['MODULE_ASSETS_CERAMIC_NODES', 'http://127.0.0.1:7007'],
} as const

function serversOf(kind: keyof typeof SERVERS, { env }: Asking): string[] {
  const [variable, usual] = SERVERS[kind]
  return listed(env[variable] ?? usual)
}

const web: Kind = (_, text, { isForeign, spools }) => [
  webSource(text, isForeign, spools, (address) => gateway(address, undefined, isForeign)),
]

/** What whoever wrote the source may have chosen; others are kept from this machine and those near it. */
const KINDS: Record<string, Kind> = {
  kubo: (rest) => [kubo(rest)],
  gateway: (rest) => [gateway(rest)],
  http: web,
  file: (_, text) => [fileSource(text)],
  ceramic: (rest, _, asking) =>
    ceramic(below(rest), serversOf('ceramic', asking), (uris) =>
      inOrder(uris.map((uri) => sourceOf(uri, { ...asking, isForeign: true }, FOREIGN_KINDS))),
    ),
}
const FOREIGN_KINDS: Record<string, Kind> = {
  https: web,
  ipfs: (rest, _, asking) => ipfs(below(rest), serversOf('ipfs', asking)),
  ar: (rest, _, asking) => arweave(below(rest), serversOf('arweave', asking), asking.spools),
  fil: (rest, _, asking) => filecoin(below(rest), serversOf('filecoin', asking), asking.spools),
}
const ALL_KINDS = { ...KINDS, ...FOREIGN_KINDS }

/**
 * Brokers for sources as people write them: `kubo:http://127.0.0.1:5001`, `gateway:https://HOST`, the path of a CAR file, or a
 * URI: `https://` (a gateway, or a CAR), `file://` (a CAR, or a folder), `ipfs://CID`, `ar://TX`, `fil://CID`,
 * `ceramic://STREAM`. They are equals, but for CARs that come as a whole, which are asked after the others. Nothing is opened or
 * asked yet.
 * @throws AssetError 'BAD_USAGE' for a source that is none of these
 */
export function sourcesOf(texts: readonly string[], env: NodeJS.ProcessEnv = process.env, spools: SpoolPlace = TEMPORARY): Broker[] {
  return texts.flatMap((text) => {
    const [, scheme = ''] = /^([a-z]+):/.exec(text) ?? []
    if (!Object.hasOwn(ALL_KINDS, scheme) && text.endsWith('.car')) return carFile(text)
    return sourceOf(text, { env, spools, isForeign: false }, ALL_KINDS)
  })
}

function sourceOf(text: string, asking: Asking, kinds: Record<string, Kind>): Broker[] {
  const [, scheme = '', rest = ''] = /^([a-z]+):(.*)$/s.exec(text) ?? []
  if (Object.hasOwn(kinds, scheme)) return kinds[scheme]!(rest, text, asking)
  throw new AssetError(
    'BAD_USAGE',
    asking.isForeign
      ? `Cannot use the source ${JSON.stringify(shown(text))}: others may name ${Object.keys(kinds).join(', ')} alone`
      : `Cannot use the source ${JSON.stringify(shown(text))}: give kubo:URL, gateway:URL, the path of a .car file, or a URI (${Object.keys(ALL_KINDS).join(', ')})`,
  )
}

/** What follows `//`. */
function below(rest: string): string {
  return rest.replace(/^\/\//, '')
}

function fileSource(text: string): Broker {
  let path: string
  try {
    path = fileURLToPath(text)
  } catch (cause) {
    throw new AssetError(
      'BAD_USAGE',
      `Cannot use the source ${JSON.stringify(text)}: ${reasonOf(cause)}; give a whole path, file:///PATH`,
      {
        cause,
      },
    )
  }
  return path.endsWith('.car') ? carFile(path) : folderSource(path)
}

function listed(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
}

/**
 * The sources of an asset: those given, which are equals, else where it may be had as noted in the store, in that order, and after
 * them those of MODULE_ASSETS_SOURCES.
 * @throws AssetError 'BAD_USAGE' for one that can't be used; 'CORRUPT' | 'IO' where the notes can't be read
 */
export async function sourcesFor(
  cid: string,
  store: Store,
  given?: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<Broker[]> {
  const spools = spoolsIn(store.layout, cid)
  const brokersOf = (texts: readonly string[]) => sourcesOf(texts, env, spools)
  if (given) return brokersOf(given)
  const noted = inOrder((await store.locations(cid)).map((uri) => brokersOf([uri])))
  return after(noted, brokersOf(listed(env.MODULE_ASSETS_SOURCES ?? '')))
}

/** The brokers of a list of places, those of each after those of the places before; CARs that come as a whole after all others. */
function inOrder(places: readonly (readonly Broker[])[]): Broker[] {
  const single = places.map((brokers) => brokers.filter(({ rank = 0 }) => rank === 0))
  const whole = places.map((brokers) => brokers.filter(({ rank = 0 }) => rank > 0))
  return [...single, ...whole].reduce<Broker[]>(
    (all, next) =>
      after(
        all,
        next.map((broker) => ({ ...broker, rank: 0 })),
      ),
    [],
  )
}

/** Brokers, and others that are asked after them. */
function after(first: readonly Broker[], then: readonly Broker[]): Broker[] {
  const behind = Math.max(-1, ...first.map(({ rank = 0 }) => rank)) + 1
  return [...first, ...then.map((broker) => ({ ...broker, rank: behind + (broker.rank ?? 0) }))]
}
