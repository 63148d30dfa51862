import { lstat, rename, statfs } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import type { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { intoNewFolder, makeFolder, syncFolder, withStaging } from '../asset/write-asset.js'
import { AssetError, ioError, throwIfAborted } from '../core/errors.js'
import { drain, type Task } from '../core/lanes.js'
import { LIMITS } from '../core/limits.js'
import type { LongCall } from '../core/progress.js'
import { type BlockCount, type Blocks, counted, shared } from './blocks.js'
import { TreeWriter, type WritingFile } from './tree-writer.js'
import { decodeNode, type Part, type UnixfsNode } from './unixfs.js'
import { blockLimit } from './verified.js'

const BLOCKS_AT_ONCE = 16

/** What {@link fetchFolder} takes. */
export interface FetchOptions extends LongCall {
  readonly blocks: Blocks
  /** bytes of all files at most; what the disk has free when left out */
  readonly most?: number | undefined
}

/** What was fetched. */
export interface Fetched {
  readonly kind: 'file' | 'folder'
  readonly files: number
  /** folders in it */
  readonly folders: number
  readonly bytes: number
  readonly fetched: BlockCount
}

/**
 * Fetches a UnixFS folder (or file) of any making as the new folder (or file) `out`, block by block, several at a time. Names are
 * never trusted as paths, sizes are those of the bytes that come, and blocks, bytes, depth and names are bounded. Tsize, modes and
 * times are not looked at; links of file systems are refused.
 * @throws AssetError 'BAD_USAGE' where `out` is there already, 'BAD_INPUT' | 'LIMIT' for a DAG that is not one of files and folders
 *   or is too much, 'ABORTED', 'IO', and what `blocks` throws; nothing stays then
 */
export async function fetchFolder(cid: CID, out: string, options: FetchOptions): Promise<Fetched> {
  const { blocks, count } = counted(options.blocks)
  const signal = shared(options.signal)
  const target = resolve(out)
  await makeFolder(dirname(target))
  const most = options.most ?? (await freeBytes(dirname(target)))
  const root = await readBlock(cid, blocks, signal)
  const walk = async (staging: string) => {
    const writer = new TreeWriter(staging, most, options.onProgress)
    try {
      await new Walk(cid, blocks, count, writer, signal).run(root)
      return { files: writer.files, folders: writer.folders, bytes: writer.planned, fetched: count }
    } finally {
      await writer.close()
    }
  }
  if (!(root instanceof Uint8Array) && root.kind === 'folder') return { kind: 'folder', ...(await intoNewFolder(out, walk)) }
  if (await lstat(target).catch(() => undefined))
    throw new AssetError('BAD_USAGE', `Cannot write ${target}: it exists already; name a new file or remove it first`)
  return withStaging(out, async (staging) => {
    const fetched = await walk(staging)
    await rename(join(staging, ROOT_FILE), target)
    await syncFolder(dirname(target))
    return { kind: 'file', ...fetched }
  })
}

/** What a file is called that has no folder. */
const ROOT_FILE = 'file'

async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder).catch((error: unknown) => {
    throw ioError(`look at the disk of ${folder}`, error)
  })
  return bavail * bsize
}

/** The bytes of a leaf, or what a node is. */
async function readBlock(cid: CID, blocks: Blocks, signal: AbortSignal | undefined): Promise<Uint8Array | UnixfsNode> {
  const bytes = await blocks(cid, { limit: blockLimit(cid), signal })
  return cid.code === raw.code ? bytes : decodeNode(bytes, `the block ${cid}`)
}

class Walk {
  constructor(
    private readonly root: CID,
    private readonly blocks: Blocks,
    private readonly count: BlockCount,
    private readonly writer: TreeWriter,
    private readonly signal: AbortSignal | undefined,
  ) {}

  run(root: Uint8Array | UnixfsNode): Promise<void> {
    const isFolder = !(root instanceof Uint8Array) && root.kind === 'folder'
    return drain([(add) => this.place(isFolder ? '' : ROOT_FILE, root, add)], BLOCKS_AT_ONCE)
  }

  private async read(cid: CID): Promise<Uint8Array | UnixfsNode> {
    throwIfAborted(this.signal, `fetch ${this.root}`)
    if (this.count.blocks >= LIMITS.dagBlocks) throw this.tooMuch(`it has more than ${LIMITS.dagBlocks} blocks`)
    return readBlock(cid, this.blocks, this.signal)
  }

  /** Puts what was found where it belongs: a leaf, the top of a file, or a folder. */
  private async place(path: string, found: Uint8Array | UnixfsNode, add: Add): Promise<void> {
    if (!(found instanceof Uint8Array) && found.kind === 'folder') {
      await this.writer.folder(path)
      return this.folder(path, found, new Set(), 1, add)
    }
    const file = await this.writer.file(path, found instanceof Uint8Array ? found.byteLength : found.size)
    await this.part(file, found, 0, 1, add)
  }

  /** Takes on the names in a folder, or in one part of it; `names` are those of all parts. */
  private folder(path: string, { entries, shards }: Folder, names: Set<string>, level: number, add: Add): void {
    if (level > LIMITS.dagDepth) throw this.tooMuch(`a folder has more than ${LIMITS.dagDepth} levels of parts`)
    const inner = entries.map(({ name, cid }): Task => {
      const place = this.writer.take(path, name, names)
      return async (add) => this.place(place, await this.read(cid), add)
    })
    const parts = shards.map(
      (cid): Task =>
        async (add) => {
          const found = await this.read(cid)
          if (found instanceof Uint8Array || found.kind === 'file') throw this.bad(`the part ${cid} of a folder is a file`)
          this.folder(path, found, names, level + 1, add)
        },
    )
    add([...inner, ...parts])
  }

  /** Writes what a part of a file holds itself, and takes on what lies below. */
  private async part(file: WritingFile, found: Uint8Array | UnixfsNode, offset: number, level: number, add: Add): Promise<void> {
    if (found instanceof Uint8Array) return file.write(found, offset, 0)
    if (found.kind === 'folder') throw this.bad('a part of a file is a folder')
    if (level > LIMITS.dagDepth) throw this.tooMuch(`a file has more than ${LIMITS.dagDepth} levels`)
    const below: Task[] = []
    let at = offset + found.data.byteLength
    for (const part of found.parts) {
      const start = at
      at += part.size
      // What has no bytes could be without end.
      if (part.size > 0) below.push(async (add) => this.below(file, part, start, level + 1, add))
    }
    await file.write(found.data, offset, below.length)
    add(below)
  }

  private async below(file: WritingFile, { cid, size }: Part, offset: number, level: number, add: Add): Promise<void> {
    const found = await this.read(cid)
    const has = found instanceof Uint8Array ? found.byteLength : found.kind === 'file' ? found.size : 0
    if (has !== size) throw this.bad(`its block ${cid} has ${has} bytes, expected ${size}`)
    await this.part(file, found, offset, level, add)
  }

  private bad(why: string): AssetError {
    return new AssetError('BAD_INPUT', `Cannot fetch ${this.root}: ${why}`)
  }

  private tooMuch(why: string): AssetError {
    return new AssetError('LIMIT', `Cannot fetch ${this.root}: ${why}`)
  }
}

type Add = Parameters<Task>[0]
type Folder = UnixfsNode & { readonly kind: 'folder' }
