import { parseBytes } from '../core/bytes.js'
import { AssetError } from '../core/errors.js'
import { LIMITS } from '../core/limits.js'
import { checkChoice, type EngineChoice } from '../engines/choice.js'
import type { Plan } from '../plan/plan.js'
import type { TilePlan } from '../plan/tiles.js'
import type { Store } from '../store/store.js'
import { tokenizerBytes } from '../text/tokenizer-bytes.js'
import { openStore } from './store.js'

/** What a budget would mean for a model; bytes, seconds. */
export interface MemoryPlan {
  readonly cid: string
  readonly engine: 'native' | 'onnx'
  /** runs of nodes that the engine computes in one call */
  readonly segments: number
  readonly weightBytes: number
  readonly budget: number
  readonly minimum: number
  /** estimated bytes that the tokenizer takes of the budget; 0 for a small one, of which nothing is to be measured */
  readonly tokenizerBytes: number
  readonly pinnedBytes: number
  readonly bytesPerToken: number
  /** weights that are wholly in memory, and those that are read for every token, wholly or in part */
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
  options: {
    readonly memory?: number | string | undefined
    readonly engine?: EngineChoice | undefined
    readonly store?: Store | undefined
  } = {},
): Promise<MemoryPlan> {
  checkChoice(options)
  const [
    { openAsset },
    { indexGraph },
    { parseGraph },
    { nativeProgram },
    { planProgram },
    { planGraph },
    { besideTokenizer },
    { diskSpeed },
  ] = await Promise.all([
    import('../store/open-asset.js'),
    import('../graph/cut.js'),
    import('../graph/parse.js'),
    import('../engines/native/choose.js'),
    import('../engines/native/spec.js'),
    import('../plan/plan.js'),
    import('../plan/too-small.js'),
    import('../store/disk-speed.js'),
  ])
  await using asset = await openAsset(cidOrPath, async () => options.store ?? openStore())
  const { main } = asset.manifest
  if (!main)
    throw new AssetError('UNSUPPORTED', `Cannot plan ${asset.where}: it has no graph; "masset doctor" lists the families that are known`)
  const index = indexGraph(parseGraph(await asset.readFile(main, LIMITS.graph)))
  const budgetOf = (total: number) => (options.memory === undefined ? total : parseBytes(options.memory, 'memory'))
  const program = nativeProgram(index, options.engine ?? 'auto')
  const tokenizer = tokenizerBytes(asset.manifest.files.get('tokenizer.json')?.size ?? 0)
  const besides = (total: number) => budgetOf(total) + (options.memory === undefined ? tokenizer : 0)
  const memory = await besideTokenizer(tokenizer, besides, (budgetOf) =>
    program ? nativePlan(planProgram(index, program, budgetOf)) : onnxPlan(planGraph(index, budgetOf)),
  )
  const disk = await diskSpeed([...asset.manifest.files.values()].map((file) => ({ path: asset.pathOf(file), size: file.size })))
  const { bytesPerToken } = memory
  return {
    cid: asset.cid,
    ...memory,
    budget: memory.budget + tokenizer,
    minimum: memory.minimum + tokenizer,
    tokenizerBytes: tokenizer,
    diskBytesPerSecond: disk.bytesPerSecond,
    diskIsDirect: disk.direct,
    ...(bytesPerToken > 0 && { tokensPerSecond: disk.bytesPerSecond / bytesPerToken }),
  }
}

type Planned = Omit<MemoryPlan, 'cid' | 'tokenizerBytes' | 'diskBytesPerSecond' | 'diskIsDirect' | 'tokensPerSecond'>

function nativePlan({ total, budget, minimum, pinnedBytes, bytesPerPass, tiles }: TilePlan): Planned {
  const isPinned = (name: string) => tiles.get(name)!.every((tile) => tile.pinned)
  const names = [...tiles.keys()]
  return {
    engine: 'native',
    segments: 1,
    weightBytes: total,
    budget,
    minimum,
    pinnedBytes,
    bytesPerToken: bytesPerPass,
    pinned: names.filter(isPinned),
    streamed: names.filter((name) => !isPinned(name)),
  }
}

function onnxPlan({ steps, residency }: Plan): Planned {
  return {
    engine: 'onnx',
    segments: steps.filter(({ kind }) => kind === 'segment').length,
    weightBytes: residency.total,
    budget: residency.budget,
    minimum: residency.minimum,
    pinnedBytes: residency.pinnedBytes,
    bytesPerToken: residency.bytesPerPass,
    pinned: [...residency.pinned],
    streamed: residency.streamed.map(({ name }) => name),
  }
}
