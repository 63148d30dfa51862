import { relative, sep } from 'node:path'
import type { Change } from './disk-log.js'
import type { Tree } from './trees.js'

interface File {
  live: Buffer
  /** as of its last sync; undefined before the first */
  synced: Buffer | undefined
}

interface Folder {
  readonly live: Map<string, Node>
  /** the names as of its last sync */
  synced: Map<string, Node>
}

type Node = File | Folder

const EMPTY = Buffer.alloc(0)
const isFolder = (node: Node): node is Folder => node.live instanceof Map

/**
 * A disk as POSIX promises it: what a file holds is safe when the file was synced, what a folder names when the folder
 * was. Fed with the changes of a log, it gives the trees that a crash at this moment could leave.
 */
export class DiskModel {
  private readonly top: Folder
  private readonly opened = new Map<number, Node>()

  /** A disk that holds a tree, all of it safe, as the folder `root`. */
  constructor(
    private readonly root: string,
    tree: Tree,
  ) {
    this.top = { live: new Map(), synced: new Map() }
    for (const [path, bytes] of [...tree].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const node: Node = bytes ? { live: bytes, synced: bytes } : { live: new Map(), synced: new Map() }
      const [parent, name] = this.place(`${root}${sep}${path}`)
      parent!.live.set(name, node)
      parent!.synced.set(name, node)
    }
  }

  apply(change: Change): void {
    if (change.op === 'mkdir') this.put(change.path, { live: new Map(), synced: new Map() })
    else if (change.op === 'open') this.open(change.file, change.path, change.content)
    else if (change.op === 'write') (this.opened.get(change.file) as File).live = Buffer.from(change.content, 'base64')
    else if (change.op === 'fsync') sync(this.opened.get(change.file)!)
    else if (change.op === 'remove') this.take(change.path)
    else if (change.op === 'link') {
      const node = this.find(change.from)
      if (node) this.put(change.to, node)
    } else if (change.op === 'rename') {
      const node = this.take(change.from)
      if (node) this.put(change.to, node)
    }
  }

  private open(file: number, path: string, content: string | undefined): void {
    const node = this.find(path) ?? { live: EMPTY, synced: undefined }
    if (path !== this.root) this.put(path, node)
    if (content !== undefined) (node as File).live = Buffer.from(content, 'base64')
    this.opened.set(file, node)
  }

  private find(path: string): Node | undefined {
    if (path === this.root) return this.top
    const [parent, name] = this.place(path)
    return parent?.live.get(name)
  }

  private put(path: string, node: Node): void {
    const [parent, name] = this.place(path)
    parent!.live.set(name, node)
  }

  private take(path: string): Node | undefined {
    const [parent, name] = this.place(path)
    const node = parent?.live.get(name)
    parent?.live.delete(name)
    return node
  }

  /** The folder that a path is in, undefined where that is not there. */
  private place(path: string): [Folder | undefined, string] {
    const names = relative(this.root, path).split(sep)
    const name = names.pop()!
    let folder: Folder | undefined = this.top
    for (const step of names) folder = folder?.live.get(step) as Folder | undefined
    return [folder, name]
  }

  /** As every process sees it; what a killed one leaves. */
  seen(): Tree {
    return treeOf(this.top, { names: ({ live }) => live, bytes: ({ live }) => live })
  }

  /** Only what is safe: names of synced folders, contents of synced files. */
  safe(): Tree {
    return treeOf(this.top, { names: ({ synced }) => synced, bytes: ({ synced }) => synced ?? EMPTY })
  }

  /** All names, but contents that are not safe are cut to a part: 0 leaves none. */
  cut(part: number): Tree {
    const bytes = ({ live, synced }: File) => (synced?.equals(live) ? live : live.subarray(0, Math.floor(live.byteLength * part)))
    return treeOf(this.top, { names: ({ live }) => live, bytes })
  }

  /** Of names and contents that are not safe, a choice: `random` gives numbers from 0 to below 1. */
  chosen(random: () => number): Tree {
    const names = ({ live, synced }: Folder) => {
      const kept = new Map<string, Node>()
      for (const name of new Set([...live.keys(), ...synced.keys()])) {
        const node = live.get(name) === synced.get(name) || random() < 0.5 ? live.get(name) : synced.get(name)
        if (node) kept.set(name, node)
      }
      return kept
    }
    const bytes = ({ live, synced }: File) => {
      if (synced?.equals(live)) return live
      const outcomes = [live, synced ?? EMPTY, Buffer.alloc(live.byteLength), live.subarray(0, Math.floor(live.byteLength * random()))]
      return outcomes[Math.floor(random() * outcomes.length)]!
    }
    return treeOf(this.top, { names, bytes })
  }
}

function sync(node: Node): void {
  if (isFolder(node)) node.synced = new Map(node.live)
  else node.synced = node.live
}

function treeOf(top: Folder, kept: { names: (folder: Folder) => Map<string, Node>; bytes: (file: File) => Buffer }): Tree {
  const tree = new Map<string, Buffer | null>()
  const visit = (folder: Folder, prefix: string) => {
    for (const [name, node] of kept.names(folder)) {
      tree.set(prefix + name, isFolder(node) ? null : kept.bytes(node))
      if (isFolder(node)) visit(node, `${prefix}${name}${sep}`)
    }
  }
  visit(top, '')
  return tree
}

/** Numbers from 0 to below 1, the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}
