import { join } from 'node:path'
import { fileDag } from '../asset/dag.js'
import { hashFolder } from '../asset/hash-folder.js'
import type { HashedFile } from '../asset/sums.js'
import { digestKey } from '../core/cid.js'
import { LEAF } from '../core/limits.js'
import { readExactly, withFile } from '../core/read.js'
import { LeafTable } from '../store/leaf-table.js'
import type { Broker } from './broker.js'

interface FolderBlocks {
  readonly files: readonly HashedFile[]
  readonly leaves: LeafTable
  /** by digest, what is no leaf */
  readonly nodes: ReadonlyMap<string, Uint8Array>
}

/** The blocks of a folder on this machine, of an asset or any other; hashed when the first block is asked for. */
export function folderSource(path: string): Broker {
  let hashed: Promise<FolderBlocks> | undefined
  return {
    name: path,
    async block(cid, { limit }) {
      hashed ??= hash(path)
      const { files, leaves, nodes } = await hashed
      const node = nodes.get(digestKey(cid.multihash.digest))
      if (node) return node
      const place = cid.multihash.digest.byteLength === 32 ? leaves.find(cid.multihash.digest) : undefined
      if (!place) return undefined
      const file = files[place.file]!
      const bytes = new Uint8Array(Math.min(LEAF, file.size - place.leaf * LEAF, limit))
      const target = join(path, file.path)
      await withFile(target, target, (handle) => readExactly(handle, bytes, place.leaf * LEAF, target))
      return bytes
    },
  }
}

async function hash(path: string): Promise<FolderBlocks> {
  const { files, nodes: folders } = await hashFolder(path)
  const nodes = new Map(folders.map(({ cid, bytes }) => [digestKey(cid.multihash.digest), bytes]))
  for (const { size, sums } of files) {
    if (size <= LEAF) continue
    for (const { cid, bytes } of (await fileDag(sums)).nodes) nodes.set(digestKey(cid.multihash.digest), bytes)
  }
  return { files, nodes, leaves: new LeafTable(files.map(({ sums }) => sums.leaves)) }
}
