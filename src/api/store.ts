import { Store } from '../store/store.js'

/**
 * Opens the local store at `path` (default: `$MODULE_ASSETS_HOME`, else the platform's data folder), made where it is missing.
 * @throws AssetError 'IO'
 */
export function openStore(path?: string): Promise<Store> {
  return Store.open(path)
}
