import { createHash } from 'node:crypto'
import type { CID } from 'multiformats/cid'
import { fileDag } from '../asset/dag.js'
import type { AssetFile, FileSums } from '../asset/sums.js'
import { lend } from '../core/buffers.js'
import { digestKey } from '../core/cid.js'
import { AssetError } from '../core/errors.js'
import { LEAF, LIMITS } from '../core/limits.js'
import { type Held, Lingering } from '../core/lingering.js'
import { readSmallFile } from '../core/read.js'
import { BlockIndex, type BlockPlace } from './block-index.js'
import { FragmentFile } from './fragment-file.js'
import { sumsOfFile } from './open-asset.js'
import { placeIn } from './place.js'
import type { Store } from './store.js'

const LINGERS_MS = 10_000
const MOST_IDLE = 64

/** A file that is open, and what is known of its bytes. */
interface OpenedFile {
  readonly fragment: FragmentFile
  readonly sums: FileSums
  /** the nodes above its leaves, by digest; made when the first is asked for */
  nodes?: Promise<ReadonlyMap<string, Uint8Array>>
}

/** The blocks of an asset of a store, which nobody removes until it is let go of. */
export interface HeldBlocks {
  /**
   * The bytes of a block of this asset, checked as they were read; whoever takes them may give them back (`core/buffers.ts`).
   * @throws AssetError 'CORRUPT' where they are damaged or missing, 'IO'
   */
  block(cid: CID): Promise<Uint8Array>
  release(): void
}

/** The blocks of all that is in a store, made of its files as they are asked for: a leaf is read, a node is built from digests. */
export class StoredBlocks {
  readonly #index: BlockIndex
  readonly #uses = new Lingering<() => Promise<void>>({ close: (release) => release(), lingers: LINGERS_MS, most: MOST_IDLE })
  readonly #files = new Lingering<OpenedFile>({ close: ({ fragment }) => fragment.close(), lingers: LINGERS_MS, most: MOST_IDLE })

  constructor(private readonly store: Store) {
    this.#index = new BlockIndex(store)
  }

  /**
   * Takes the asset that a block belongs to in use; undefined where the store has no such block. What is below the block
   * is in the same asset.
   * @throws AssetError 'IO' | 'NOT_FOUND' where the store is gone
   */
  async hold(root: CID): Promise<HeldBlocks | undefined> {
    for (;;) {
      const place = await this.#index.find(root)
      if (!place) return undefined
      const use = await this.#uses
        .hold(place.asset, () => this.store.use(place.asset))
        .catch((error: unknown) => {
          if (!(error instanceof AssetError) || error.code !== 'NOT_FOUND') throw error
          return undefined
        })
      if (use) return { block: (cid) => this.#block(cid), release: use.release }
      // It was removed since the index was made; another asset may have the block too.
      await this.#index.look()
    }
  }

  /** Lets go of all that nobody holds any more. */
  async close(): Promise<void> {
    await this.#files.close()
    await this.#uses.close()
  }

  async #block(cid: CID): Promise<Uint8Array> {
    const place = await this.#index.find(cid)
    if (!place) throw new AssetError('CORRUPT', `Cannot read the block ${cid}: a file that it belongs to is damaged; run "masset verify"`)
    if (place.kind === 'folder') return this.#folderBlock(place.cid)
    return this.#fileBlock(cid, place)
  }

  async #folderBlock(cid: CID): Promise<Uint8Array> {
    const bytes = await readSmallFile(this.store.layout.node(String(cid)), LIMITS.block).catch((error: AssetError) => {
      if (error.code === 'IO') throw error
      throw damaged(cid, error)
    })
    if (Buffer.compare(createHash('sha256').update(bytes).digest(), cid.multihash.digest) !== 0) throw damaged(cid)
    return bytes
  }

  async #fileBlock(cid: CID, place: Exclude<BlockPlace, { kind: 'folder' }>): Promise<Uint8Array> {
    const { file } = place
    const key = String(file.cid)
    let held: Held<OpenedFile> | undefined
    try {
      held = await this.#files.hold(key, () => this.#open(file))
      if (place.kind === 'leaf') return await readLeaf(held.value, place.leaf)
      held.value.nodes ??= nodesOf(held.value.sums)
      const bytes = (await held.value.nodes).get(digestKey(cid.multihash.digest))
      if (!bytes) throw damaged(cid)
      return bytes
    } catch (error) {
      // It may be mended meanwhile, as another file of the same name.
      this.#files.drop(key)
      throw error instanceof AssetError && error.code === 'NOT_FOUND' ? damaged(cid, error) : error
    } finally {
      held?.release()
    }
  }

  async #open(file: AssetFile): Promise<OpenedFile> {
    const { store } = this
    const where = `the store ${store.path}`
    const place = await placeIn(store.layout, file)
    const sums = await sumsOfFile({ store, where, placeOf: async () => place }, file)
    return { fragment: await FragmentFile.open(place, `${file.path} (${file.cid}) of ${where}`, file.size, sums.pages), sums }
  }
}

async function readLeaf({ fragment }: OpenedFile, leaf: number): Promise<Uint8Array> {
  const bytes = lend(Math.min(LEAF, fragment.size - leaf * LEAF))
  await fragment.read(bytes, leaf * LEAF)
  return bytes
}

async function nodesOf(sums: FileSums): Promise<ReadonlyMap<string, Uint8Array>> {
  const { nodes } = await fileDag(sums)
  return new Map(nodes.map(({ cid, bytes }) => [digestKey(cid.multihash.digest), bytes]))
}

function damaged(cid: CID, cause?: unknown): AssetError {
  return new AssetError('CORRUPT', `Cannot read the block ${cid}: it is missing or damaged; run "masset verify" and get the asset again`, {
    cause,
  })
}
