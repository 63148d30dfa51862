import { decode, type PBLink } from '@ipld/dag-pb'
import { Node } from 'ipfs-unixfs'
import type { CID } from 'multiformats/cid'
import { AssetError } from '../core/errors.js'

const MOST_FANOUT = 1024

/** The message Data of UnixFS. */
type Data = NonNullable<Node['data']>

/** A part of a file: what follows below a link, and how many bytes that is said to be. */
export interface Part {
  readonly cid: CID
  readonly size: number
}

/** A name in a folder. */
export interface Entry {
  readonly name: string
  readonly cid: CID
}

/** A dag-pb block as UnixFS: a file's upper part, or a leaf of the older kind; a folder or one part of a large folder. */
export type UnixfsNode =
  | { readonly kind: 'file'; readonly size: number; readonly data: Uint8Array; readonly parts: readonly Part[] }
  | { readonly kind: 'folder'; readonly entries: readonly Entry[]; readonly shards: readonly CID[] }

/**
 * Reads a dag-pb block, whose bytes are those of its CID and nothing more: what it says is not trusted. Tsize, modes and times
 * are not looked at.
 * @throws AssetError 'BAD_INPUT' for what is not UnixFS, a symlink, sizes that don't agree, a fanout that no shard has
 */
export function decodeNode(bytes: Uint8Array, what: string): UnixfsNode {
  const bad = (why: string, cause?: unknown) => new AssetError('BAD_INPUT', `Cannot read ${what}: ${why}`, { cause })
  let links: readonly PBLink[]
  let data: Data | undefined
  try {
    links = decode(bytes).Links
    data = Node.decode(bytes).data
  } catch (cause) {
    throw bad(`it is not UnixFS (${cause instanceof Error ? cause.message : cause})`, cause)
  }
  switch (data?.type) {
    case 'FILE':
    case 'RAW':
      return fileNode(data, links, bad)
    case 'DIRECTORY':
      return { kind: 'folder', entries: links.map(({ Name = '', Hash }) => ({ name: Name, cid: Hash })), shards: [] }
    case 'HAMT_SHARD':
      return shardNode(data, links, bad)
    default:
      throw bad(`it is neither a file nor a folder (${data?.type ?? 'no type'})`)
  }
}

type Bad = (why: string) => AssetError

function fileNode({ data = new Uint8Array(0), blockSizes, fileSize }: Data, links: readonly PBLink[], bad: Bad): UnixfsNode {
  if (blockSizes.length !== links.length) throw bad(`it has ${links.length} links and sizes of ${blockSizes.length}`)
  const size = blockSizes.reduce((sum, bytes) => sum + bytes, BigInt(data.byteLength))
  if (size > Number.MAX_SAFE_INTEGER) throw bad(`its parts have ${size} bytes`)
  if (fileSize !== undefined && fileSize !== size) throw bad(`it says that it has ${fileSize} bytes, its parts have ${size}`)
  return { kind: 'file', size: Number(size), data, parts: links.map(({ Hash }, at) => ({ cid: Hash, size: Number(blockSizes[at]) })) }
}

/** Names in a shard begin with the place in it, as hexadecimal digits; a name that has nothing else is a shard below. */
function shardNode({ fanOut = 0n }: Data, links: readonly PBLink[], bad: Bad): UnixfsNode {
  const fanout = Number(fanOut)
  if (fanout < 2 || fanout > MOST_FANOUT || !Number.isInteger(Math.log2(fanout))) throw bad(`no shard has the fanout ${fanOut}`)
  const digits = (fanout - 1).toString(16).length
  const entries: Entry[] = []
  const shards: CID[] = []
  for (const { Name = '', Hash: cid } of links) {
    const place = Name.slice(0, digits)
    if (!/^[0-9A-F]+$/.test(place) || place.length < digits || Number.parseInt(place, 16) >= fanout)
      throw bad(`its link ${JSON.stringify(Name.slice(0, 100))} has no place in the shard`)
    if (Name.length === digits) shards.push(cid)
    else entries.push({ name: Name.slice(digits), cid })
  }
  return { kind: 'folder', entries, shards }
}
