import { join } from 'node:path'
import { AssetError } from '../core/errors.js'
import { inLanes } from '../core/lanes.js'
import { LIMITS } from '../core/limits.js'
import { compareUtf8 } from '../core/paths.js'
import { sourceFileAt } from '../sources/checkpoint.js'
import { LOOKUPS_AT_ONCE, listFolder } from './hash-folder.js'
import { checkPaths, MANIFEST, type Manifest } from './manifest.js'
import type { PlannedAsset } from './model-asset.js'
import { type PlannedFile, plannedFile, wholeFile } from './pieces.js'

/** What an asset that is made of a folder is, and what it is called. */
export interface FolderAsset {
  readonly kind: Manifest['kind']
  readonly name?: string | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Plans an asset of all files of a folder, as they are; a manifest lists no empty folders, so those are not in it.
 * @throws AssetError 'BAD_USAGE' for a name that is too long or a folder that is an asset already; 'BAD_INPUT' for names
 *   that can't be everywhere, and what is neither file nor folder; 'LIMIT', 'NOT_FOUND', 'IO', 'ABORTED'
 */
export async function planFolder(folder: string, { kind, name, signal }: FolderAsset): Promise<PlannedAsset> {
  if (name !== undefined && name.length > LIMITS.assetName)
    throw new AssetError('BAD_USAGE', `Cannot name an asset ${JSON.stringify(name)}: give at most ${LIMITS.assetName} characters`)
  const { paths } = await listFolder(folder, signal)
  if (paths.includes(MANIFEST))
    throw new AssetError('BAD_USAGE', `Cannot make an asset of ${folder}: it has a ${MANIFEST}, so it is one already; remove that first`)
  checkPaths(paths, folder)
  const files: PlannedFile[] = []
  await inLanes(paths, LOOKUPS_AT_ONCE, async (path) => {
    const file = await sourceFileAt(join(folder, path))
    files.push(plannedFile(path, [wholeFile(file)]))
  })
  files.sort((a, b) => compareUtf8(a.path, b.path))
  return { kind, files, ...(name !== undefined && { name }) }
}
