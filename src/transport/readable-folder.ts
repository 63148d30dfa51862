import { CID } from 'multiformats/cid'
import { folderDag } from '../asset/dag.js'
import type { FolderBlock } from '../asset/folder-blocks.js'
import type { HashedFolder } from '../asset/hash-folder.js'
import type { HashedFile } from '../asset/sums.js'
import { throwIfAborted } from '../core/errors.js'
import { inLanes } from '../core/lanes.js'
import { Lingering } from '../core/lingering.js'
import { FragmentFile } from '../store/fragment-file.js'
import { type OpenAsset, sumsOfFile } from '../store/open-asset.js'

const FILES_AT_ONCE = 16
// Leaves are asked for file by file, so few files are enough.
const LINGERING = { close: (file: FragmentFile) => file.close(), lingers: 1000, most: 4 }

/** A folder whose blocks can be had: which there are, and the bytes of each. */
export interface ReadableFolder extends Omit<HashedFolder, 'dagSize'> {
  /**
   * The bytes of a block; a leaf's are read into `room`, which must have as many.
   * @throws AssetError 'CORRUPT' where they are damaged, 'NOT_FOUND' | 'IO'
   */
  read(block: FolderBlock, room: Uint8Array): Promise<Uint8Array>
}

/**
 * Hands over an asset as blocks, from the sums beside its files; one that lies in a folder of its own is hashed for it. What is
 * read is checked.
 * @throws AssetError 'CORRUPT' where a file is damaged, 'NOT_FOUND' | 'IO' | 'ABORTED'
 */
export async function withReadableAsset<T>(
  asset: OpenAsset,
  signal: AbortSignal | undefined,
  use: (folder: ReadableFolder) => Promise<T>,
): Promise<T> {
  const listed = [...asset.manifest.files.values(), asset.manifestFile]
  const known = new Map<string, HashedFile>()
  await inLanes(listed, FILES_AT_ONCE, async (file) => {
    throwIfAborted(signal, `read ${asset.where}`)
    known.set(file.path, { ...file, sums: await sumsOfFile(asset, file) })
  })
  const files = listed.map(({ path }) => known.get(path)!)
  const { nodes } = await folderDag(files)
  const opened = new Lingering(LINGERING)
  const open = async (file: HashedFile) =>
    FragmentFile.open(await asset.placeOf(file), `${file.path} of ${asset.where}`, file.size, file.sums.pages)
  const read = async (block: FolderBlock, room: Uint8Array) => {
    if ('bytes' in block) return block.bytes
    const { value: file, release } = await opened.hold(block.path, () => open(known.get(block.path)!))
    try {
      const bytes = room.subarray(0, block.length)
      await file.read(bytes, block.offset)
      return bytes
    } finally {
      release()
    }
  }
  try {
    return await use({ cid: CID.parse(asset.cid), files, nodes, read })
  } finally {
    await opened.close()
  }
}
