import { parseBytes } from '../core/bytes.js'
import { AssetError } from '../core/errors.js'
import { LIMITS } from '../core/limits.js'
import { indexGraph } from '../graph/cut.js'
import { parseGraph } from '../graph/parse.js'
import { planGraph } from '../plan/plan.js'
import { diskSpeed } from '../store/disk-speed.js'
import { openAsset } from '../store/open-asset.js'
import { Store } from '../store/store.js'

/** What a budget would mean for a model; bytes, seconds. */
export interface MemoryPlan {
  readonly cid: string
  readonly engine: string
  readonly segments: number
  readonly weightBytes: number
  readonly budget: number
  readonly minimum: number
  readonly pinnedBytes: number
  readonly bytesPerToken: number
  readonly pinned: readonly string[]
  readonly streamed: readonly string[]
  /** measured by reading some of this asset's own bytes, past the page cache if `diskIsDirect` */
  readonly diskBytesPerSecond: number
  readonly diskIsDirect: boolean
  /** at most, if reading were all there is to do; undefined where nothing streams */
  readonly tokensPerSecond?: number
}

/**
 * What would be pinned and streamed within `memory`, what a token would read, and how fast the disk allows that to be.
 * @throws AssetError 'BUDGET_TOO_SMALL' naming the minimum, 'UNSUPPORTED' for an asset without a graph, 'NOT_FOUND'
 */
export async function plan(
  cidOrPath: string,
  options: { readonly memory?: number | string | undefined; readonly store?: Store | undefined } = {},
): Promise<MemoryPlan> {
  await using asset = await openAsset(cidOrPath, async () => options.store ?? Store.open())
  const { main } = asset.manifest
  if (!main)
    throw new AssetError('UNSUPPORTED', `Cannot plan ${asset.where}: it has no graph; "masset doctor" lists the families that are known`)
  const index = indexGraph(parseGraph(await asset.readFile(main, LIMITS.graph)))
  const { steps, residency } = planGraph(index, (total) => (options.memory === undefined ? total : parseBytes(options.memory, 'memory')))
  const disk = await diskSpeed([...asset.manifest.files.values()].map((file) => ({ path: asset.pathOf(file), size: file.size })))
  const { budget, minimum, pinnedBytes, bytesPerPass } = residency
  return {
    cid: asset.cid,
    engine: 'onnx',
    segments: steps.filter(({ kind }) => kind === 'segment').length,
    weightBytes: residency.total,
    budget,
    minimum,
    pinnedBytes,
    bytesPerToken: bytesPerPass,
    pinned: [...residency.pinned],
    streamed: residency.streamed.map(({ name }) => name),
    diskBytesPerSecond: disk.bytesPerSecond,
    diskIsDirect: disk.direct,
    ...(bytesPerPass > 0 && { tokensPerSecond: disk.bytesPerSecond / bytesPerPass }),
  }
}
