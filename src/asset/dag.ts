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

interface Link {
  readonly cid: CID
  /** Tsize: bytes of all blocks below */
  readonly size: bigint
}

/** A folder by the names in it. */
type Folder = Map<string, Folder | Link>

/**
 * The UnixFS DAG of a folder whose files' CIDs are known, `folders` (those without files) among them: the folders' blocks
 * only, each after those that it links to, root last. Same CID as `ipfs add` with the profile unixfs-v1-2025.
 */
export async function folderDag(files: Iterable<AssetFile>, folders: Iterable<string> = []): Promise<Dag> {
  const root: Folder = new Map()
  for (const path of folders) folderAt(root, path.split('/'))
  for (const { path, cid, size } of files) {
    const names = path.split('/')
    const name = names.pop()!
    folderAt(root, names).set(name, { cid, size: BigInt(dagSizeOf(size)) })
  }
  const blocks = catcher()
  const { cid, size } = await linkTo(root, blocks)
  return { cid, dagSize: Number(size), nodes: blocks.nodes }
}

/** The folder at a path, made where it is not there. */
function folderAt(root: Folder, names: readonly string[]): Folder {
  let folder = root
  for (const name of names) {
    const known = folder.get(name)
    const inner: Folder = known instanceof Map ? known : new Map()
    folder.set(name, inner)
    folder = inner
  }
  return folder
}

/**
 * Folder by folder, those inside first: given a whole tree, the importer tells whether a folder is large (and is to be
 * sharded) without the links to the folders in it.
 */
async function linkTo(folder: Folder, blocks: ReturnType<typeof catcher>): Promise<Link> {
  const links = new Map<string, Link>()
  for (const [name, entry] of folder) links.set(name, entry instanceof Map ? await linkTo(entry, blocks) : entry)
  const options: ImporterOptions = {
    ...PROFILE,
    wrapWithDirectory: true,
    fileBuilder: async ({ path = '', originalPath }) => ({ ...links.get(path)!, path, originalPath }),
  }
  const candidates = [...links.keys()].map((path) => ({ path, content: NOTHING }))
  const { cid, size } = await last(importer(candidates, blocks, options))
  return { cid, size: size! }
}

async function last(results: AsyncIterable<ImportResult>): Promise<ImportResult> {
  let result: ImportResult | undefined
  for await (result of results);
  return result!
}
