import { CID } from 'multiformats/cid'
import { AssetError } from '../core/errors.js'
import type { Broker } from './broker.js'
import { gateway } from './gateway.js'
import { HttpOrigin } from './http.js'
import type { SpoolPlace } from './spool-file.js'
import { webCar } from './web-car.js'

const UNSEALED_PIECE = 0xf101

/**
 * What a storage provider of Filecoin, or whoever stands in front of several, has of a CID: the piece itself, which is a CAR,
 * where it is that of a piece; else the blocks, since they answer as trustless gateways.
 * Source: the Piece Gateway and the Trustless Gateway Specification
 * @param place what follows `fil://`
 * @throws AssetError 'BAD_USAGE' for what is no CID
 */
export function filecoin(place: string, gateways: readonly string[], spools: SpoolPlace): Broker[] {
  const isPiece = cidOf('fil', place).code === UNSEALED_PIECE
  return gateways.map((address) => (isPiece ? webCar(new HttpOrigin(address), `/piece/${place}`, spools, 'filecoin') : gateway(address)))
}

/**
 * The gateways that are asked for the blocks of a CID.
 * @param place what follows `ipfs://`
 * @throws AssetError 'BAD_USAGE' for what is no CID
 */
export function ipfs(place: string, gateways: readonly string[]): Broker[] {
  cidOf('ipfs', place)
  return gateways.map((address) => gateway(address))
}

function cidOf(scheme: string, place: string): CID {
  try {
    return CID.parse(place.replace(/\/$/, ''))
  } catch (cause) {
    throw new AssetError('BAD_USAGE', `Cannot use the source "${scheme}://${place}": it is not a CID`, { cause })
  }
}
