import type { LookupAddress, LookupAllOptions } from 'node:dns'
import { lookup } from 'node:dns'
import { BlockList, isIP, type LookupFunction } from 'node:net'
import { AssetError } from '../core/errors.js'

// Networks that are not the public internet: this machine, those of a house or a company, of a cloud's own services.
const OWN = new BlockList()
for (const [net, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 3],
] as const)
  OWN.addSubnet(net, bits, 'ipv4')
for (const [net, bits] of [
  // this machine, and IPv4 addresses as they were once written
  ['::', 96],
  ['100::', 64],
  // what is not for hosts, Teredo among it, which stands for an IPv4 address too
  ['2001::', 23],
  // what stands for an IPv4 address, and may stand for one of those above
  ['::ffff:0:0:0', 96],
  ['64:ff9b::', 96],
  ['64:ff9b:1::', 48],
  ['2002::', 16],
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
] as const)
  OWN.addSubnet(net, bits, 'ipv6')

/** True for an address of the public internet. */
function isPublicAddress(address: string): boolean {
  const plain = address.replace(/^\[|\]$/g, '').replace(/%.*$/, '')
  const family = isIP(plain)
  // An IPv4 address that is written as IPv6 (::ffff:127.0.0.1) is looked for among those of IPv4 too.
  return family !== 0 && !OWN.check(plain, family === 4 ? 'ipv4' : 'ipv6')
}

/**
 * Whether a reply of `from` may send on to `to`: to http or https, not from https back to http, and anywhere on the public
 * internet (which {@link publicLookup} sees to: whoever owns a name says what address the names below it have), or to where the
 * reply came from; names below `localhost` are this machine too (gateways send `/ipfs/CID` to `CID.ipfs.HOST`).
 */
export function redirectKind(from: URL, to: URL): 'own' | 'public' | 'refused' {
  if ((to.protocol !== 'https:' && to.protocol !== 'http:') || (from.protocol === 'https:' && to.protocol !== 'https:')) return 'refused'
  const isBelow = isLocalhost(from.hostname) && to.hostname.endsWith(`.${from.hostname}`)
  if ((to.hostname === from.hostname || isBelow) && to.port === from.port) return 'own'
  return isOwnHost(to.hostname) ? 'refused' : 'public'
}

/** True for a host that says by itself that it is not on the public internet; of other names {@link publicLookup} tells. */
export function isOwnHost(hostname: string): boolean {
  const literal = hostname.replace(/^\[|\]$/g, '')
  return isLocalhost(literal) || (isIP(literal) !== 0 && !isPublicAddress(literal))
}

/** True for this machine's name, and those below it. */
function isLocalhost(name: string): boolean {
  return name === 'localhost' || name.endsWith('.localhost')
}

/** Looks a host up and takes public addresses alone: what is connected to is what was looked at. */
export const publicLookup: LookupFunction = (host, options, done) => {
  lookup(host, { ...options, all: true } as LookupAllOptions, (error, found: LookupAddress[]) => {
    const taken = error ? [] : found.filter(({ address }) => isPublicAddress(address))
    const [first] = taken
    if (error) done(error, '')
    else if (!first) done(new AssetError('IO', `Cannot follow a redirect to ${host}: it is not on the public internet`), '')
    else if (options.all) done(null, taken)
    else done(null, first.address, first.family)
  })
}

/** `localhost` and names below it are this machine, whatever the resolver knows of them. */
export const plainLookup: LookupFunction = (host, options, done) => {
  lookup(host.endsWith('.localhost') ? 'localhost' : host, options as LookupAllOptions, done as never)
}
