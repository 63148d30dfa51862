import { type FolderBlock, folderBlocks } from '../asset/folder-blocks.js'
import { AssetError, reasonOf, throwIfAborted } from '../core/errors.js'
import { ahead } from '../core/lanes.js'
import { LEAF } from '../core/limits.js'
import type { LongCall } from '../core/progress.js'
import type { OpenAsset } from '../store/open-asset.js'
import type { BlockCount } from './blocks.js'
import type { Block } from './broker.js'
import { carHeader, sectionHead } from './car-write.js'
import type { KuboRpc } from './kubo-rpc.js'
import { type ReadableFolder, withReadableAsset } from './readable-folder.js'

const QUESTIONS_AT_ONCE = 32
// Two uploads at a time keep a node with several cores busy; one that ends is what the node has for good.
const UPLOADS_AT_ONCE = 2
const BLOCKS_IN_UPLOAD = 64

/** What {@link pushAsset} takes. */
export interface PushOptions extends LongCall {
  /** keep it from the node's garbage collection */
  readonly pin?: boolean | undefined
}

/** What was pushed. */
export interface Pushed {
  readonly cid: string
  /** the node that it went to */
  readonly to: string
  /** all blocks of the asset, those of folders and of the upper parts of files among them, each once */
  readonly all: BlockCount
  /** those that the node lacked */
  readonly sent: BlockCount
  /** those that it had */
  readonly skipped: BlockCount
  readonly pinned: boolean
}

/**
 * Pushes a folder to a Kubo node: of its blocks those that the node lacks, leaves first, so that a root that has arrived is
 * complete. Memory is a few blocks, whatever the size. When this resolves, the node has counted every block under our CID.
 * Interrupted in whatever way, the next push sends only what is missing.
 * Whether it is a node that can do this is for the caller to check.
 * @throws AssetError 'IO' where the node is not there or refuses, 'CORRUPT' where a file here is damaged, 'NOT_FOUND', 'ABORTED'
 */
export async function pushFolder(folder: ReadableFolder, node: KuboRpc, options: PushOptions = {}): Promise<Pushed> {
  const { signal, pin = false } = options
  try {
    const push = new Push(folder, node, options)
    await push.run()
    return { cid: String(folder.cid), to: node.name, all: push.all, sent: push.sent, skipped: push.skipped, pinned: pin }
  } catch (error) {
    if (!signal?.aborted) throw error
    const why = 'it was cancelled; what has arrived is there, push it again to go on'
    throw new AssetError('ABORTED', `Cannot finish to push ${folder.cid}: ${why}`, { cause: signal.reason })
  }
}

/** The same for an asset, whose files are checked as they are read. @throws AssetError also 'UNSUPPORTED' for a node that is too old */
export async function pushAsset(asset: OpenAsset, node: KuboRpc, options: PushOptions = {}): Promise<Pushed> {
  // Before the files are looked at, which may take a while.
  await node.check(options.signal)
  return withReadableAsset(asset, options.signal, (folder) => pushFolder(folder, node, options))
}

class Push {
  readonly all = { blocks: 0, bytes: 0 }
  readonly sent = { blocks: 0, bytes: 0 }
  readonly skipped = { blocks: 0, bytes: 0 }
  private readonly total: number

  constructor(
    private readonly folder: ReadableFolder,
    private readonly node: KuboRpc,
    private readonly options: PushOptions,
  ) {
    this.total = folder.files.reduce((sum, { size }) => sum + size, 0)
  }

  async run(): Promise<void> {
    const { folder, node, options } = this
    await this.send((block) => !('bytes' in block))
    await this.send((block) => 'bytes' in block)
    // First, so that nothing is collected while it is counted.
    if (options.pin) await this.concluding(() => node.pin(folder.cid, this.all.bytes, options.signal))
    const { blocks: count, bytes } = await this.concluding(() => node.stat(folder.cid, this.all.bytes, options.signal))
    if (count !== this.all.blocks || bytes !== this.all.bytes)
      throw this.incomplete(`it counts ${count} blocks and ${bytes} bytes, expected ${this.all.blocks} and ${this.all.bytes}`)
    options.onProgress?.({ phase: 'send', done: this.total, total: this.total })
  }

  /** Sends the chosen blocks that the node lacks, in several uploads. */
  private async send(isChosen: (block: FolderBlock) => boolean): Promise<void> {
    const { signal } = this.options
    const stop = new AbortController()
    const onAbort = () => stop.abort(signal?.reason)
    signal?.addEventListener('abort', onAbort, { once: true })
    throwIfAborted(signal, 'push')
    const missing = this.missing(isChosen, stop.signal)
    try {
      await Promise.all(
        Array.from({ length: UPLOADS_AT_ONCE }, () =>
          this.upload(missing, stop.signal).catch((error: unknown) => {
            // What the others end with is of no interest then.
            stop.abort(error)
            throw error
          }),
        ),
      )
    } finally {
      signal?.removeEventListener('abort', onAbort)
      await missing.return(undefined).catch(() => undefined)
    }
  }

  private async *missing(isChosen: (block: FolderBlock) => boolean, signal: AbortSignal): AsyncGenerator<FolderBlock> {
    const chosen = async function* (blocks: AsyncIterable<FolderBlock>) {
      for await (const block of blocks) if (isChosen(block)) yield block
    }
    const asked = ahead(chosen(folderBlocks(this.folder)), QUESTIONS_AT_ONCE, async (block) => ({
      block,
      isThere: await this.node.has(block.cid, signal),
    }))
    for await (const { block, isThere } of asked) {
      const bytes = 'bytes' in block ? block.bytes.byteLength : block.length
      add(this.all, bytes)
      if (isThere) {
        add(this.skipped, bytes)
        this.progress()
      } else yield block
    }
  }

  /** Takes blocks and sends them, one upload after the other, until there are none. One is read while another is sent. */
  private async upload(blocks: AsyncGenerator<FolderBlock>, signal: AbortSignal): Promise<void> {
    const rooms = [Buffer.allocUnsafeSlow(LEAF), Buffer.allocUnsafeSlow(LEAF)]
    const take = async (): Promise<Block | undefined> => {
      const { done, value } = await blocks.next()
      if (done) return undefined
      rooms.reverse()
      return { cid: value.cid, bytes: await this.folder.read(value, rooms[0]!) }
    }
    for (let next = await take(); next; ) {
      const given = { blocks: 0, bytes: 0 }
      const car = async function* (this: Push): AsyncGenerator<Uint8Array> {
        // A header must name a root; the node doesn't look for it.
        yield carHeader([this.folder.cid])
        while (next && given.blocks < BLOCKS_IN_UPLOAD) {
          const { cid, bytes }: Block = next
          const coming = take()
          // Whoever waits for it hears of it.
          coming.catch(() => undefined)
          yield sectionHead(cid, bytes.byteLength)
          yield bytes
          add(given, bytes.byteLength)
          add(this.sent, bytes.byteLength)
          this.progress()
          next = await coming
        }
      }
      const taken = await this.node.importCar(car.call(this), signal)
      if (taken.blocks !== given.blocks || taken.bytes !== given.bytes)
        throw this.incomplete(`of ${given.blocks} blocks and ${given.bytes} bytes it took ${taken.blocks} and ${taken.bytes}`)
    }
  }

  private async concluding<T>(call: () => Promise<T>): Promise<T> {
    return call().catch((error: AssetError) => {
      if (error.code === 'ABORTED') throw error
      throw this.incomplete(reasonOf(error), error)
    })
  }

  private incomplete(why: string, cause?: unknown): AssetError {
    const what = `Cannot push ${this.folder.cid} to the ${this.node.name}`
    return new AssetError('IO', `${what}: ${why}; push it again, with --pin where the node collects garbage`, { cause })
  }

  private progress(): void {
    const done = Math.min(this.sent.bytes + this.skipped.bytes, this.total)
    this.options.onProgress?.({ phase: 'send', done, total: this.total })
  }
}

function add(count: { blocks: number; bytes: number }, bytes: number): void {
  count.blocks += 1
  count.bytes += bytes
}
