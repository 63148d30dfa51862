import { CID } from 'multiformats/cid'
import { AssetError } from '../core/errors.js'
import type { LongCall } from '../core/progress.js'
import type { Store } from '../store/store.js'
import type { Fetched } from '../transport/fetch-folder.js'

/** Options of {@link decode}. */
export interface DecodeOptions extends LongCall {
  /** the store that is looked at first; default: the one that `openStore()` opens */
  readonly store?: Store | undefined
  /** sources of what the store does not have, see `masset decode --help`; default: what is noted in the store, and MODULE_ASSETS_SOURCES */
  readonly from?: readonly string[] | undefined
}

/**
 * Writes the folder, or file, of a CID as the new folder, or file, `out`: any UnixFS, of an asset, a part of one, or of any other
 * making; out of the store, or where that does not have it from sources. Every block is verified; names are never trusted as paths.
 * @throws AssetError 'BAD_USAGE' where `out` is there already, 'BAD_INPUT' | 'LIMIT' for what is no CID of files and folders or is too
 *   much, 'CORRUPT' where the store is damaged or a source gives wrong bytes, 'NOT_FOUND', 'IO', 'ABORTED'; nothing stays then
 */
export async function decode(cid: string, out: string, options: DecodeOptions = {}): Promise<Fetched> {
  const [{ fetchFolder }, { Retriever }, { sourcesFor }, { StoredBlocks }, { openStore }] = await Promise.all([
    import('../transport/fetch-folder.js'),
    import('../transport/retriever.js'),
    import('../transport/sources.js'),
    import('../store/stored-blocks.js'),
    import('./store.js'),
  ])
  const root = readCid(cid)
  const store = options.store ?? (await openStore())
  const stored = new StoredBlocks(store)
  let retriever: InstanceType<typeof Retriever> | undefined
  try {
    const held = await stored.hold(root)
    if (held) {
      try {
        return await fetchFolder(root, out, { ...options, blocks: (cid) => held.block(cid) })
      } finally {
        held.release()
      }
    }
    const asked = new Retriever(await sourcesFor(String(root.toV1()), store, options.from))
    retriever = asked
    return await fetchFolder(root, out, { ...options, blocks: (cid, call) => asked.block(cid, call) })
  } finally {
    await stored.close()
    await retriever?.close()
  }
}

function readCid(text: string): CID {
  try {
    return CID.parse(text.replace(/^(ipfs:\/\/|\/ipfs\/)/, ''))
  } catch (cause) {
    throw new AssetError('BAD_INPUT', `Cannot read the CID ${JSON.stringify(text.slice(0, 100))}: it is not a CID`, { cause })
  }
}
