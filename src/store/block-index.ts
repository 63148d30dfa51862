import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { CID } from 'multiformats/cid'
import { fileDag } from '../asset/dag.js'
import type { AssetFile } from '../asset/sums.js'
import { DAG_PB, digestKey, isBlockCid, isCid } from '../core/cid.js'
import { AssetError, ioError } from '../core/errors.js'
import { inLanes } from '../core/lanes.js'
import { LEAF } from '../core/limits.js'
import { LeafTable } from './leaf-table.js'
import { sumsOfFile } from './open-asset.js'
import { placeIn } from './place.js'
import type { Store } from './store.js'

// A file above this has nodes between its root and its leaves (1024 links a node).
const ONE_NODE = 1024 * LEAF
const LOOKUPS_AT_ONCE = 16

/** Where the store has a block, and an asset that it belongs to. */
export type BlockPlace = { readonly asset: string } & (
  | { readonly kind: 'folder'; readonly cid: CID }
  | { readonly kind: 'leaf'; readonly file: AssetFile; readonly leaf: number }
  /** a node above the leaves of a file, which is made when it is asked for */
  | { readonly kind: 'node'; readonly file: AssetFile }
)

interface IndexedAsset {
  readonly files: readonly AssetFile[]
  readonly folders: readonly CID[]
}

interface IndexedFile {
  readonly file: AssetFile
  /** an asset that it belongs to */
  readonly asset: string
}

/**
 * Which block is where in a store. Only digests are kept, of the assets that were there at the last look; one that came
 * since is found by a new look when a block is asked for that is not known.
 */
export class BlockIndex {
  readonly #assets = new Map<string, IndexedAsset>()
  /** entries that could not be read, and how they were then: as long as they are the same they are left out */
  readonly #damaged = new Map<string, number>()
  /** by digest: folder blocks and nodes of files */
  #nodes = new Map<string, BlockPlace>()
  /** files whose nodes between root and leaves are in `#nodes` */
  #expanded = new Set<IndexedFile>()
  #files: readonly IndexedFile[] = []
  #leaves = new LeafTable([])
  #looking: Promise<boolean> | undefined

  constructor(private readonly store: Store) {}

  /**
   * The place of a block, from what was there at the last look. Bytes of a file are never a node, whatever they look like:
   * nobody knows what they would link to.
   */
  #known({ code, multihash: { digest } }: CID): BlockPlace | undefined {
    if (code === DAG_PB) return this.#nodes.get(digestKey(digest))
    const place = this.#leaves.find(digest)
    if (!place) return undefined
    const { file, asset } = this.#files[place.file]!
    return { kind: 'leaf', file, leaf: place.leaf, asset }
  }

  /** The place of a block in what is there now. @throws AssetError 'IO' | 'NOT_FOUND' where the store is gone */
  async find(cid: CID): Promise<BlockPlace | undefined> {
    if (!isBlockCid(cid)) return undefined
    let place = this.#known(cid)
    if (!place && (await this.look())) place = this.#known(cid)
    if (!place && (await this.#expand())) place = this.#known(cid)
    return place
  }

  /** Looks again at which assets are there; true where they are others. Looks at the same time are one. */
  look(): Promise<boolean> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined
    })
    return this.#looking
  }

  async #look(): Promise<boolean> {
    const folder = this.store.layout.assets
    const present = await readdir(folder).catch((error: unknown) => {
      throw ioError(`list the store ${this.store.path}`, error)
    })
    const names = new Set(present.filter(isCid))
    let isChanged = false
    for (const cid of this.#assets.keys()) if (!names.has(cid)) isChanged = this.#assets.delete(cid)
    for (const cid of names) {
      if (this.#assets.has(cid)) continue
      const written = this.#damaged.size > 0 ? await writtenAt(join(folder, cid)) : 0
      if (written !== 0 && this.#damaged.get(cid) === written) continue
      try {
        const { manifest, manifestFile, nodes } = await this.store.describe(cid)
        this.#assets.set(cid, { files: [...manifest.files.values(), manifestFile], folders: nodes.map((node) => node.cid) })
        this.#damaged.delete(cid)
        isChanged = true
      } catch (error) {
        if (!(error instanceof AssetError)) throw error
        this.#damaged.set(cid, await writtenAt(join(folder, cid)))
      }
    }
    if (isChanged) await this.#rebuild()
    return isChanged
  }

  async #rebuild(): Promise<void> {
    const known = new Map(this.#files.map(({ file }, at) => [String(file.cid), this.#leaves.digestsOf(at)]))
    const files = new Map<string, IndexedFile>()
    const nodes = new Map<string, BlockPlace>()
    for (const [asset, { files: held, folders }] of this.#assets) {
      for (const cid of folders) nodes.set(digestKey(cid.multihash.digest), { kind: 'folder', cid, asset })
      for (const file of held) if (!files.has(String(file.cid))) files.set(String(file.cid), { file, asset })
    }
    const leaves = new Map<IndexedFile, Uint8Array>()
    await inLanes([...files], LOOKUPS_AT_ONCE, async ([key, entry]) => {
      const digests = known.get(key) ?? (await this.#leavesOf(entry.file))
      if (digests) leaves.set(entry, digests)
    })
    for (const { file, asset } of leaves.keys())
      if (file.size > LEAF) nodes.set(digestKey(file.cid.multihash.digest), { kind: 'node', file, asset })
    this.#leaves = new LeafTable([...leaves.values()])
    this.#files = [...leaves.keys()]
    this.#nodes = nodes
    this.#expanded = new Set()
  }

  /** Undefined for a file that is damaged: it is not served, until the store changes. */
  async #leavesOf(file: AssetFile): Promise<Uint8Array | undefined> {
    const { store } = this
    const where = `the store ${store.path}`
    const placeOf = (file: AssetFile) => placeIn(store.layout, file)
    const sums = await sumsOfFile({ store, where, placeOf }, file).catch((error: unknown) => {
      if (!(error instanceof AssetError)) throw error
      return undefined
    })
    return sums?.leaves
  }

  /** Adds the nodes between roots and leaves of large files, which are asked for after their root; true where some are new. */
  async #expand(): Promise<boolean> {
    const [nodes, expanded, table] = [this.#nodes, this.#expanded, this.#leaves]
    let isMore = false
    for (const [at, entry] of this.#files.entries()) {
      const { file, asset } = entry
      if (file.size <= ONE_NODE || expanded.has(entry)) continue
      const dag = await fileDag({ size: file.size, leaves: table.digestsOf(at) })
      for (const { cid } of dag.nodes) nodes.set(digestKey(cid.multihash.digest), { kind: 'node', file, asset })
      expanded.add(entry)
      isMore = true
    }
    return isMore
  }
}

async function writtenAt(path: string): Promise<number> {
  return stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  )
}
