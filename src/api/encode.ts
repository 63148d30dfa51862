import type { LongCall } from '../core/progress.js'
import type { Store } from '../store/store.js'

/** A folder by content. */
export interface Encoding {
  /** the CID of the folder */
  readonly cid: string
  /** relative path, with `/` -> CID of each file, ordered by path */
  readonly files: ReadonlyMap<string, string>
}

/**
 * The CIDs of a folder of any kind and of each file in it, hidden ones too; nothing is written. Same CID as
 * `ipfs add -r --hidden` with the profile unixfs-v1-2025.
 * @throws AssetError 'BAD_INPUT' for what is neither file nor folder (links are not followed) or has a name that is not
 *   UTF-8; 'LIMIT', 'CORRUPT' where a file changes meanwhile, 'NOT_FOUND', 'IO', 'ABORTED'
 */
export async function encode(folder: string, options: LongCall = {}): Promise<Encoding> {
  const { hashFolder } = await import('../asset/hash-folder.js')
  const { cid, files } = await hashFolder(folder, options)
  return { cid: String(cid), files: new Map(files.map((file) => [file.path, String(file.cid)])) }
}

/** Where a folder goes as an asset, and what it is called. */
export interface EncodeIntoOptions extends LongCall {
  /** a name for people, kept in the manifest; it changes the CID */
  readonly name?: string | undefined
}

/**
 * Puts a folder of any kind into a store as an asset of kind "function": its files as they are, and a manifest, so its CID
 * is another than that of the folder alone. Empty folders are not in it. Resolves to its CID.
 * @throws AssetError 'BAD_USAGE' where the folder is an asset already; 'BAD_INPUT' for names that can't be everywhere;
 *   'LIMIT', 'CORRUPT', 'NOT_FOUND', 'IO', 'ABORTED'; nothing stays then
 */
export async function encodeInto(store: Store, folder: string, options: EncodeIntoOptions = {}): Promise<string> {
  const { planFolder } = await import('../asset/plan-folder.js')
  const { name, signal } = options
  const { cid } = await store.write(await planFolder(folder, { kind: 'function', name, signal }), options)
  return String(cid)
}
