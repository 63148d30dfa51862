import { makeFolder, syncFolder } from '../asset/write-asset.js'
import { AssetError } from '../core/errors.js'
import { parseJson } from '../core/json.js'
import { LIMITS } from '../core/limits.js'
import { readSmallFile } from '../core/read.js'
import type { Change } from './change.js'
import type { StoreLayout } from './layout.js'

const FILE_BYTES = 1024 * 1024

/** Where an asset may be had, in the order in which it is to be tried; none where nothing is noted. @throws AssetError 'CORRUPT' | 'IO' */
export async function readLocations(layout: StoreLayout, key: string): Promise<string[]> {
  const path = layout.locationsOf(key)
  const bytes = await readSmallFile(path, FILE_BYTES).catch((error: AssetError) => {
    if (error.code !== 'NOT_FOUND') throw error
  })
  if (!bytes) return []
  try {
    const found = parseJson(bytes, path)
    if (!Array.isArray(found) || found.length > LIMITS.locations || !found.every(isLocation))
      throw new AssetError('CORRUPT', 'it is no list of URIs')
    return found
  } catch (cause) {
    throw new AssetError('CORRUPT', `Cannot read the locations of ${key}: ${path} is damaged; remove that file and add them again`, {
      cause,
    })
  }
}

/** Notes where an asset may be had. */
export async function writeLocations(change: Change, layout: StoreLayout, key: string, uris: readonly string[]): Promise<void> {
  const path = layout.locationsOf(key)
  if (uris.length === 0) {
    await change.remove(path)
    return
  }
  await makeFolder(layout.locations)
  await change.write(path, Buffer.from(`${JSON.stringify(uris)}\n`))
  await syncFolder(layout.locations)
}

/** True for a URI of bounded length, in characters that every URI has. */
export function isLocation(value: unknown): value is string {
  return typeof value === 'string' && value.length <= LIMITS.location && /^[a-z]+:\/\/[\x21-\x7e]+$/.test(value)
}
