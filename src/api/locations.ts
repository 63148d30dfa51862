import { AssetError } from '../core/errors.js'
import type { Store } from '../store/store.js'

/**
 * Notes in a store where an asset, here or not, may be had; `loadModel`, `masset pull` and `decode` try these in their order where no
 * sources are given. URIs: `ipfs://CID`, `https://…` (a trustless gateway, or a CAR), `ar://TX`, `fil://CID`, `ceramic://STREAM`,
 * `file:///PATH` (a CAR, or a folder). Resolves to all that is noted. What is noted goes when the asset is removed.
 * @throws AssetError 'BAD_USAGE' for a URI that can't be used or has a password in it; 'LIMIT' above 64 of them, 'IO'
 */
export async function addLocations(store: Store, cid: string, uris: readonly string[]): Promise<string[]> {
  const [{ sourcesOf }, { isLocation }, { shown }] = await Promise.all([
    import('../transport/sources.js'),
    import('../store/locations.js'),
    import('../transport/shown.js'),
  ])
  for (const uri of uris) {
    if (!isLocation(uri) || !URL.canParse(uri))
      throw new AssetError(
        'BAD_USAGE',
        `Cannot note the location ${JSON.stringify(shown(String(uri)))}: give a URI of at most 2048 characters, such as ipfs://CID`,
      )
    const { username, password } = new URL(uri)
    if (username !== '' || password !== '')
      throw new AssetError('BAD_USAGE', 'Cannot note a location with a password in it: name it as a source when it is needed')
    sourcesOf([uri])
  }
  return store.changeLocations(cid, (known) => [...known, ...uris])
}

/** Forgets locations of an asset; those that are not noted are passed over. Resolves to what is left. @throws AssetError 'IO' */
export function removeLocations(store: Store, cid: string, uris: readonly string[]): Promise<string[]> {
  return store.changeLocations(cid, (known) => known.filter((uri) => !uris.includes(uri)))
}
