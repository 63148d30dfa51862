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
import { webSource } from './web-car.js'

/** Who is asked for what names no server, and whether the source was chosen by others. */
interface Asking {
  readonly env: NodeJS.ProcessEnv
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

const web: Kind = (_, text, { isForeign }) => [webSource(text, isForeign, (address) => gateway(address, undefined, isForeign))]

/** What whoever wrote the source may have chosen; others are kept from this machine and those near it. */
const KINDS: Record<string, Kind> = {
  kubo: (rest) => [kubo(rest)],
  gateway: (rest) => [gateway(rest)],
  http: web,
  file: (_, text) => [fileSource(text)],
  ceramic: (rest, _, asking) =>
    ceramic(below(rest), serversOf('ceramic', asking), (uri) => sourceOf(uri, { ...asking, isForeign: true }, FOREIGN_KINDS)),
}
const FOREIGN_KINDS: Record<string, Kind> = {
  https: web,
  ipfs: (rest, _, asking) => ipfs(below(rest), serversOf('ipfs', asking)),
  ar: (rest, _, asking) => arweave(below(rest), serversOf('arweave', asking)),
  fil: (rest, _, asking) => filecoin(below(rest), serversOf('filecoin', asking)),
}
const ALL_KINDS = { ...KINDS, ...FOREIGN_KINDS }

/**
 * Brokers for sources as people write them: `kubo:http://127.0.0.1:5001`, `gateway:https://HOST`, the path of a CAR file, or a
 * URI: `https://` (a gateway, or a CAR), `file://` (a CAR, or a folder), `ipfs://CID`, `ar://TX`, `fil://CID`,
 * `ceramic://STREAM`. Nothing is opened or asked yet.
 * @throws AssetError 'BAD_USAGE' for a source that is none of these
 */
export function sourcesOf(texts: readonly string[], env: NodeJS.ProcessEnv = process.env): Broker[] {
  return texts.flatMap((text) => {
    const [, scheme = ''] = /^([a-z]+):/.exec(text) ?? []
    if (!Object.hasOwn(ALL_KINDS, scheme) && text.endsWith('.car')) return carFile(text)
    return sourceOf(text, { env, isForeign: false }, ALL_KINDS)
  })
}

function sourceOf(text: string, asking: Asking, kinds: Record<string, Kind>): Broker[] {
  const [, scheme = '', rest = ''] = /^([a-z]+):(.*)$/s.exec(text) ?? []
  if (Object.hasOwn(kinds, scheme)) return kinds[scheme]!(rest, text, asking)
  throw new AssetError(
    'BAD_USAGE',
    asking.isForeign
      ? `Cannot use the source ${JSON.stringify(text)}: others may name ${Object.keys(kinds).join(', ')} alone`
      : `Cannot use the source ${JSON.stringify(text)}: give kubo:URL, gateway:URL, the path of a .car file, or a URI (${Object.keys(ALL_KINDS).join(', ')})`,
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

/** Brokers for the sources that MODULE_ASSETS_SOURCES names, separated by commas. @throws AssetError 'BAD_USAGE' */
export function defaultSources(env: NodeJS.ProcessEnv = process.env): Broker[] {
  return sourcesOf(listed(env.MODULE_ASSETS_SOURCES ?? ''))
}

/**
 * The sources of an asset: those given, else where it may be had as noted in the store, then those of MODULE_ASSETS_SOURCES.
 * @throws AssetError 'BAD_USAGE' for one that can't be used; 'CORRUPT' | 'IO' where the notes can't be read
 */
export async function sourcesFor(cid: string, store: Store, given?: readonly string[]): Promise<Broker[]> {
  if (given) return sourcesOf(given)
  return [...sourcesOf(await store.locations(cid)), ...defaultSources()]
}
