import { mkdir, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { MANIFEST } from '../asset/manifest.js'
import { syncFolder, type WrittenAsset } from '../asset/write-asset.js'
import { throwIfAborted } from '../core/errors.js'
import { inLanes } from '../core/lanes.js'
import type { Change } from './change.js'
import { makeFan, writeSynced } from './durable.js'
import { writeEntry } from './entry.js'
import type { StoreLayout } from './layout.js'
import { encodeLink } from './place.js'
import { encodeSidecar } from './sidecar.js'

// Calls that wait for the disk at the same time.
const AT_ONCE = 32

/** A file that lies safe in the staging folder, and its place in the store. */
interface Move {
  readonly from: string
  readonly to: string
}

/** Writes what belongs beside the files of an asset in `folder`, sums and folder blocks, as files of the new folder `beside`. */
export async function writeBeside(
  { files, nodes }: Pick<WrittenAsset, 'files' | 'nodes'>,
  folder: string,
  beside: string,
  layout: StoreLayout,
  signal?: AbortSignal,
): Promise<Move[]> {
  await mkdir(beside)
  const made = [
    ...files.map(({ cid, sums }) => ({ to: layout.sidecar(String(cid)), bytes: () => encodeSidecar(sums) })),
    ...nodes.map(({ cid, bytes }) => ({ to: layout.node(String(cid)), bytes: () => bytes })),
    ...files.flatMap(({ cid, link }) => (link ? [{ to: layout.link(String(cid)), bytes: () => encodeLink(link) }] : [])),
  ].map(({ to, bytes }, at) => ({ from: join(beside, String(at)), to, bytes }))
  await inLanes(made, AT_ONCE, async ({ from, bytes }) => {
    throwIfAborted(signal, 'store the asset')
    await writeSynced(from, bytes())
  })
  // A file that is there already is replaced by the same bytes, just verified: that mends a damaged one.
  const own = files.filter(({ link }) => !link)
  return [...made, ...own.map(({ path, cid }) => ({ from: join(folder, path), to: layout.file(String(cid)) }))]
}

/**
 * Moves verified files to where they belong, and writes the root's `entry` when all names are safe. Under the lock, so that no
 * removal takes them for leftovers: nothing but names changes here, since others wait. Where the lock is lost meanwhile, so are
 * they: no entry is written then.
 */
export async function moveIn(
  change: Change,
  { manifest, files }: Pick<WrittenAsset, 'manifest' | 'files'>,
  moves: readonly Move[],
  layout: StoreLayout,
  entry: string,
): Promise<void> {
  const fans = [...new Set(moves.map(({ to }) => dirname(to)))]
  await inLanes(fans, AT_ONCE, makeFan)
  await inLanes(moves, AT_ONCE, ({ from, to }) => rename(from, to))
  await inLanes([...fans, layout.files, layout.nodes], AT_ONCE, syncFolder)
  await writeEntry(change, entry, { manifest, manifestFile: files.find(({ path }) => path === MANIFEST)! })
  await syncFolder(dirname(entry))
}
