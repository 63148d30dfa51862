import { AssetError } from '../core/errors.js'
import type { Broker } from './broker.js'
import { HttpOrigin } from './http.js'
import type { SpoolPlace } from './spool-file.js'
import { webCar } from './web-car.js'

/**
 * A CAR that is the data of an Arweave transaction, or lies at a path of one whose data is a manifest of paths. Gateways send on
 * from `/TX` to a host of its own below theirs, which is the transaction in base32.
 * Source: https://docs.ar.io/ (gateways), https://specs.ar.io/ (path manifests)
 * @param place what follows `ar://`: `TX` or `TX/PATH`
 * @throws AssetError 'BAD_USAGE' for what is no transaction
 */
export function arweave(place: string, gateways: readonly string[], spools: SpoolPlace): Broker[] {
  if (!/^[\w-]{43}(\/[^?#]*)?$/.test(place))
    throw new AssetError('BAD_USAGE', `Cannot use the source "ar://${place}": give the 43 characters of a transaction, such as ar://TX`)
  return gateways.map((address) => webCar(new HttpOrigin(address), `/${place}`, spools, 'arweave'))
}
