import * as dagPb from '@ipld/dag-pb'
import { UnixFS } from 'ipfs-unixfs'
import { walkPath } from 'ipfs-unixfs-exporter'
import type { CID } from 'multiformats/cid'
import type { HeldBlocks } from '../../store/stored-blocks.js'
import { Refusal } from './refusal.js'
import type { DagPart, EntityBytes } from './request.js'

/** Where a path ends. */
export interface Resolved {
  /** the CID at the end of it */
  readonly cid: CID
  /** the CID that each part of it stands for, from the root to its end */
  readonly roots: readonly CID[]
  /** the blocks that show the way there, in order, without the last */
  readonly way: readonly CID[]
}

/** Follows a path from a root, through folders of any size. @throws Refusal 404 where it leads nowhere */
export async function resolvePath(root: CID, path: readonly string[], blocks: HeldBlocks): Promise<Resolved> {
  const nowhere = new Refusal(404, 'Cannot find the path: there is no such file or folder under this CID')
  // The walker takes a backslash for an escape; no name in an asset has one.
  if (path.some((name) => /[/\\]/.test(name))) throw nowhere
  const way: CID[] = []
  const get = async function* (cid: CID) {
    way.push(cid)
    yield await blocks.block(cid)
  }
  const roots: CID[] = []
  try {
    for await (const { cid } of walkPath([root, ...path].join('/'), { get })) roots.push(cid)
  } catch (error) {
    if (error instanceof Error && (error.name === 'NotFoundError' || error.name === 'NotUnixFSError')) throw nowhere
    throw error
  }
  // It also stops, without an error, at a file that is taken for a folder.
  if (roots.length !== path.length + 1) throw nowhere
  return { cid: roots.at(-1)!, roots, way }
}

/**
 * The blocks of a part of a DAG in depth-first order. `isWanted` is asked of each before it is read, so that what was sent
 * already is not read again.
 */
export async function* walkDag(
  cid: CID,
  part: DagPart,
  blocks: HeldBlocks,
  isWanted: (cid: CID) => boolean,
): AsyncGenerator<{ readonly cid: CID; readonly bytes: Uint8Array }> {
  const isNode = cid.code === dagPb.code
  const wanted = isWanted(cid)
  // Of a file, another part may be wanted the next time.
  if (!wanted && !(isNode && part.scope === 'entity')) return
  const bytes = await blocks.block(cid)
  // Whoever takes the bytes may write others over them.
  const links = isNode && part.scope !== 'block' ? [...chosenLinks(dagPb.decode(bytes), part)] : []
  if (wanted) yield { cid, bytes }
  for (const { link, part: inner } of links) yield* walkDag(link, inner, blocks, isWanted)
}

interface Chosen {
  readonly link: CID
  readonly part: DagPart
}

/** The links of a node that a part of a DAG goes on with, and what is wanted of each. */
function* chosenLinks({ Links, Data }: dagPb.PBNode, part: DagPart): Generator<Chosen> {
  if (part.scope === 'all') {
    for (const { Hash } of Links) yield { link: Hash, part }
    return
  }
  const node = Data && UnixFS.unmarshal(Data)
  if (node?.type === 'hamt-sharded-directory') {
    // A link whose name is nothing but its place leads to more of the folder, any other to something in it.
    const digits = (Number(node.fanout) - 1).toString(16).length
    for (const { Hash, Name } of Links) if (Name?.length === digits) yield { link: Hash, part }
  } else if (node?.type === 'file') yield* fileLinks(Links, node, part.bytes)
}

function* fileLinks(links: readonly dagPb.PBLink[], file: UnixFS, bytes: EntityBytes = { from: 0, to: undefined }): Generator<Chosen> {
  const size = Number(file.fileSize())
  const fromStart = (at: number) => (at < 0 ? at + size : at)
  const [from, to] = [Math.max(fromStart(bytes.from), 0), bytes.to === undefined ? size - 1 : fromStart(bytes.to)]
  let start = 0
  for (const [at, { Hash }] of links.entries()) {
    const end = start + Number(file.blockSizes[at] ?? 0)
    if (from < end && to >= start)
      yield { link: Hash, part: { scope: 'entity', bytes: { from: Math.max(from - start, 0), to: Math.min(to, end - 1) - start } } }
    start = end
  }
}
