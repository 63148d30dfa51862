import { type ImporterOptions, type ImportResult, importer } from 'ipfs-unixfs-importer'
import type { CID } from 'multiformats/cid'
import { leafCid } from '../core/cid.js'
import { AssetError } from '../core/errors.js'
import { LEAF } from '../core/limits.js'
import { dagSizeOf } from './dag-size.js'
import type { AssetFile, FileSums } from './sums.js'
import { leafCount } from './sums.js'

/** A dag-pb block that the importer made: a folder, a part of a large folder, or the upper part of a large file. */
export interface DagNode {
  readonly cid: CID
  readonly bytes: Uint8Array
}

/** A file or folder as UnixFS: its CID, the bytes of its whole DAG (Tsize), and the blocks above the leaves. */
export interface Dag {
  readonly cid: CID
  readonly dagSize: number
  readonly nodes: readonly DagNode[]
}

const PROFILE = { profile: 'unixfs-v1-2025' } as const
const NOTHING = new Uint8Array(0)

/** Catches the blocks that the importer writes. */
function catcher() {
  const nodes: DagNode[] = []
  const put = async (cid: CID, bytes: Uint8Array): Promise<CID> => {
    nodes.push({ cid, bytes })
    return cid
  }
  return { nodes, put }
}

/**
 * The UnixFS DAG of a file whose leaves are hashed already: the importer builds the tree, no byte is read again.
 * Same CID as `ipfs add` with the profile unixfs-v1-2025.
 */
export async function fileDag(sums: Pick<FileSums, 'size' | 'leaves'>): Promise<Dag> {
  const count = leafCount(sums.size)
  if (sums.leaves.byteLength !== count * 32)
    throw new AssetError('CORRUPT', `Cannot build the DAG of a file: ${sums.size} bytes need ${count} leaves`)
  const options: ImporterOptions = {
    ...PROFILE,
    bufferImporter: async function* () {
      for (let i = 0; i < count; i++) {
        const size = BigInt(Math.min(LEAF, sums.size - i * LEAF))
        const cid = leafCid(sums.leaves.slice(i * 32, i * 32 + 32))
        yield async () => ({ cid, size, block: NOTHING })
      }
    },
  }
  const blocks = catcher()
  const root = await last(importer([{ content: NOTHING }], blocks, options))
  return { cid: root.cid, dagSize: Number(root.size), nodes: blocks.nodes }
}

/** The UnixFS DAG of a folder whose files' CIDs are known: the folder's blocks only, root last. */
export async function folderDag(files: Iterable<AssetFile>): Promise<Dag> {
  const known = new Map<string, { cid: CID; size: bigint }>()
  for (const file of files) known.set(file.path, { cid: file.cid, size: BigInt(dagSizeOf(file.size)) })
  const options: ImporterOptions = {
    ...PROFILE,
    wrapWithDirectory: true,
    fileBuilder: async ({ path = '', originalPath }) => ({ ...known.get(path)!, path, originalPath }),
  }
  const blocks = catcher()
  const candidates = [...known.keys()].map((path) => ({ path, content: NOTHING }))
  const root = await last(importer(candidates, blocks, options))
  return { cid: root.cid, dagSize: Number(root.size), nodes: blocks.nodes }
}

async function last(results: AsyncIterable<ImportResult>): Promise<ImportResult> {
  let result: ImportResult | undefined
  for await (result of results);
  return result!
}
