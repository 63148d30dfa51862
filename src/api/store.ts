import type { LongCall } from '../core/progress.js'
import type { Store } from '../store/store.js'

/**
 * Opens the local store at `path` (default: `$MODULE_ASSETS_HOME`, else the platform's data folder), made where it is missing.
 * @throws AssetError 'IO'
 */
export async function openStore(path?: string): Promise<Store> {
  const { Store } = await import('../store/store.js')
  return Store.open(path)
}

/**
 * Puts an asset folder into the store, hashed on the way; it must be what its manifest says. Resolves to its CID.
 * @throws AssetError 'NOT_FOUND', 'CORRUPT' where a file is not the one that the manifest lists; nothing stays then
 */
export async function putFolder(store: Store, folder: string, options: LongCall = {}): Promise<string> {
  const folders = await import('../store/folders.js')
  return folders.putFolder(store, folder, options)
}

/**
 * Gets an asset out of the store as a new folder: files cloned where the file system can (reflink), else copied; never
 * links, which ONNX Runtime refuses. What was copied is read again and compared with its CIDs before the folder gets its name.
 * @throws AssetError 'NOT_FOUND', 'CORRUPT' where a file in the store is damaged, 'BAD_USAGE' where the folder exists and is not empty, 'ABORTED', 'IO'; nothing half-written stays
 */
export async function getFolder(store: Store, cid: string, out: string, options: LongCall = {}): Promise<void> {
  const folders = await import('../store/folders.js')
  return folders.getFolder(store, cid, out, options)
}
