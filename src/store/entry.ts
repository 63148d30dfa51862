import type { CID } from 'multiformats/cid'
import { type DagNode, fileDag, folderDag } from '../asset/dag.js'
import { decodeManifest, MANIFEST, type Manifest } from '../asset/manifest.js'
import { type AssetFile, sumBytes } from '../asset/sums.js'
import { parseCid } from '../core/cid.js'
import { AssetError } from '../core/errors.js'
import { LIMITS } from '../core/limits.js'
import { readSmallFile } from '../core/read.js'
import type { Change } from './change.js'
import type { StoreLayout } from './layout.js'

/** What an asset is: its CID, its manifest, that manifest's own file, and its folder blocks. */
export interface Description {
  readonly cid: CID
  readonly manifest: Manifest
  readonly manifestFile: AssetFile
  readonly nodes: readonly DagNode[]
}

/** Writes the entry of an asset, so that a crash leaves the old one or the new one. The folder is the caller's to sync. */
export function writeEntry(
  change: Change,
  path: string,
  { manifest, manifestFile }: Pick<Description, 'manifest' | 'manifestFile'>,
): Promise<void> {
  const entry = { manifest: String(manifestFile.cid), size: manifestFile.size, kind: manifest.kind }
  return change.write(path, Buffer.from(`${JSON.stringify(entry)}\n`))
}

/** What the entry at `path` says of the asset `key`. @throws AssetError 'NOT_FOUND' without an entry, 'CORRUPT' where anything is not as its CID says, 'IO' */
export async function readEntry(layout: StoreLayout, path: string, key: string): Promise<Description> {
  const entry = await readSmallFile(path, 4096)
  try {
    const manifestCid = parseCid(String(JSON.parse(Buffer.from(entry).toString('utf8')).manifest))
    const bytes = await readSmallFile(layout.file(String(manifestCid)), LIMITS.json)
    const found = await manifestFileOf(bytes)
    if (!found.cid.equals(manifestCid)) throw new AssetError('CORRUPT', `its manifest is ${found.cid}, expected ${manifestCid}`)
    const described = await describeManifest(bytes, found, `the manifest of ${key}`)
    if (String(described.cid) !== key) throw new AssetError('CORRUPT', `it describes ${described.cid}`)
    return described
  } catch (cause) {
    // Nothing is known to be wrong with the asset then, so nobody is told to remove it.
    if (cause instanceof AssetError && cause.code === 'IO') throw cause
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new AssetError(
      'CORRUPT',
      `Cannot open ${key}: its entry in the store ${layout.root} is damaged (${why}); run "masset verify ${key} --repair", or "masset rm ${key}" and add it again`,
      { cause },
    )
  }
}

/** The file that a manifest of these bytes is. */
export async function manifestFileOf(bytes: Uint8Array): Promise<AssetFile> {
  return { path: MANIFEST, cid: (await fileDag(sumBytes(bytes))).cid, size: bytes.byteLength }
}

/** What the asset is that a manifest of these bytes describes. @throws AssetError 'BAD_INPUT' | 'LIMIT' */
export async function describeManifest(bytes: Uint8Array, manifestFile: AssetFile, what: string): Promise<Description> {
  const manifest = decodeManifest(bytes, what)
  const { cid, nodes } = await folderDag([...manifest.files.values(), manifestFile])
  return { cid, manifest, manifestFile, nodes }
}
