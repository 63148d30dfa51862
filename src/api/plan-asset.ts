import { graphOf } from '../asset/manifest.js'
import { parseBytes } from '../core/bytes.js'
import { AssetError } from '../core/errors.js'
import { LIMITS } from '../core/limits.js'
import type { EngineChoice } from '../engines/choice.js'
import { divide } from '../engines/native/choose.js'
import type { Division } from '../engines/native/divide.js'
import { engineOf, type PlannedHalf, planHalves } from '../engines/native/halves.js'
import { needsOf, planProgram, segmentNeeds } from '../engines/native/spec.js'
import { type GraphIndex, indexGraph } from '../graph/cut.js'
import { halvesOf } from '../graph/halves.js'
import { parseGraph } from '../graph/parse.js'
import { type CachePlan, cacheBounds } from '../plan/cache.js'
import { type ResidencyPlan, residencyBounds } from '../plan/pinned.js'
import { planGraph, weightUses } from '../plan/plan.js'
import { planSteps } from '../plan/steps.js'
import { type TilePlan, tileBounds } from '../plan/tiles.js'
import { besideTokenizer } from '../plan/too-small.js'
import { diskSpeed } from '../store/disk-speed.js'
import { openAsset } from '../store/open-asset.js'
import type { Store } from '../store/store.js'
import { tokenizerBytes } from '../text/tokenizer-bytes.js'
import { openStore } from './store.js'

/** A run of nodes that one engine computes. */
export interface PlannedSegment {
  readonly engine: 'native' | 'onnx'
  readonly nodes: number
  /** bytes of the weights that it uses, each once; tables of which only rows are read do not count */
  readonly weightBytes: number
  /** why it is not native: the first operator that the native engine doesn't know, or that it would not be worth it */
  readonly why?: string
}

/** What a budget would mean for a model; bytes, seconds. */
export interface MemoryPlan {
  readonly cid: string
  readonly engine: 'native' | 'onnx' | 'mixed'
  /** in the order of a pass */
  readonly segments: readonly PlannedSegment[]
  /** all weights; in a mixed model those that both engines use are counted twice, since each holds them */
  readonly weightBytes: number
  readonly budget: number
  readonly minimum: number
  /** estimated bytes that the tokenizer takes of the budget; 0 for a small one, of which nothing is to be measured */
  readonly tokenizerBytes: number
  readonly pinnedBytes: number
  readonly bytesPerToken: number
  /** bytes of the weights of experts, which are read when a token is sent to them and not in memory then, and bytes kept for them */
  readonly expertBytes: number
  readonly expertCacheBytes: number
  /** weights that are wholly in memory, and those that are read for every token, wholly or in part */
  readonly pinned: readonly string[]
  readonly streamed: readonly string[]
  /** measured by reading some of this asset's own bytes, past the page cache if `diskIsDirect` */
  readonly diskBytesPerSecond: number
  readonly diskIsDirect: boolean
  /** at most, if reading were all there is to do; undefined where nothing streams, or nobody knows which experts tokens will be sent to */
  readonly tokensPerSecond?: number
}

/** What a plan is made for. */
export interface PlanOptions {
  readonly memory?: number | string | undefined
  readonly engine?: EngineChoice | undefined
  /** false for a model that is loaded without its tokenizer */
  readonly tokenizer?: boolean | undefined
  readonly store?: Store | undefined
}

/** `plan` itself. */
export async function planAsset(cidOrPath: string, options: PlanOptions): Promise<MemoryPlan> {
  await using asset = await openAsset(cidOrPath, async () => options.store ?? openStore())
  const main = graphOf(asset.manifest, asset.where)
  if (!main)
    throw new AssetError('UNSUPPORTED', `Cannot plan ${asset.where}: it has no graph; "masset doctor" lists the families that are known`)
  const index = indexGraph(parseGraph(await asset.readFile(main, LIMITS.graph)))
  const tokenizer = options.tokenizer === false ? 0 : tokenizerBytes(asset.manifest.files.get('tokenizer.json')?.size ?? 0)
  const budgetOf = (total: number) => (options.memory === undefined ? total + tokenizer : parseBytes(options.memory, 'memory'))
  const { segments, memoryWithin } = dividedAsRun(index, options.engine ?? 'auto')
  const memory = await besideTokenizer(tokenizer, budgetOf, memoryWithin)
  const places = [...asset.manifest.files.values()].map(async (file) => ({ path: (await asset.placeOf(file)).path, size: file.size }))
  const disk = await diskSpeed(await Promise.all(places))
  const { bytesPerToken, expertBytes, expertCacheBytes } = memory
  return {
    cid: asset.cid,
    segments,
    ...memory,
    budget: memory.budget + tokenizer,
    minimum: memory.minimum + tokenizer,
    tokenizerBytes: tokenizer,
    diskBytesPerSecond: disk.bytesPerSecond,
    diskIsDirect: disk.direct,
    ...(bytesPerToken > 0 && expertBytes <= expertCacheBytes && { tokensPerSecond: disk.bytesPerSecond / bytesPerToken }),
  }
}

type Memory = Omit<MemoryPlan, 'cid' | 'segments' | 'tokenizerBytes' | 'diskBytesPerSecond' | 'diskIsDirect' | 'tokensPerSecond'>

interface Divided {
  readonly segments: readonly PlannedSegment[]
  memoryWithin(budgetOf: (total: number) => number): Memory
}

function dividedAsRun(index: GraphIndex, engine: EngineChoice): Divided {
  const halves = halvesOf(index)
  if (!halves) {
    const division = divide(index, engine)
    return { segments: segmentsOf(index, division), memoryWithin: (budgetOf) => memoryOf(index, division, budgetOf) }
  }
  const all = Object.values(planHalves(halves, engine, (total) => total))
  return {
    segments: all.flatMap(({ index, division }) => segmentsOf(index, division)),
    memoryWithin: (budgetOf) => memoryOfHalves(planHalves(halves, engine, budgetOf)),
  }
}

/** The encoder is no part of a token: what it reads, it reads once for a generation. */
function memoryOfHalves({ encoder, decoder }: ReturnType<typeof planHalves>): Memory {
  const memory = ({ index, division, budget }: PlannedHalf) => memoryOf(index, division, () => budget)
  const [first, second] = [memory(encoder), memory(decoder)]
  const sum = (key: 'weightBytes' | 'budget' | 'minimum' | 'pinnedBytes' | 'expertBytes' | 'expertCacheBytes') => first[key] + second[key]
  const streamed = new Set([...first.streamed, ...second.streamed])
  const pinned = new Set([...first.pinned, ...second.pinned].filter((name) => !streamed.has(name)))
  return {
    engine: engineOf([encoder.division, decoder.division]),
    weightBytes: sum('weightBytes'),
    budget: sum('budget'),
    minimum: sum('minimum'),
    pinnedBytes: sum('pinnedBytes'),
    bytesPerToken: second.bytesPerToken,
    expertBytes: sum('expertBytes'),
    expertCacheBytes: sum('expertCacheBytes'),
    pinned: [...pinned],
    streamed: [...streamed],
  }
}

function segmentsOf(index: GraphIndex, { segments, program }: Division): PlannedSegment[] {
  let at = 0
  return segments.map(({ engine, graph, why }) => {
    const { total } = engine === 'native' ? tileBounds(segmentNeeds(index, program!, program!.segments[at++]!)) : onnxBounds(graph)
    return { engine, nodes: graph.nodes.length, weightBytes: total, ...(why !== undefined && { why }) }
  })
}

function onnxBounds(graph: GraphIndex): { readonly total: number } {
  const { segments, cached } = weightUses(graph, planSteps(graph))
  return { total: residencyBounds(segments).total + cacheBounds(cached).total }
}

function memoryOf(index: GraphIndex, { segments, program }: Division, budgetOf: (total: number) => number): Memory {
  if (program && segments.length === 1) {
    const plan = planProgram(index, program, budgetOf)
    return { engine: 'native', ...sizes(plan, [plan.tiles]), ...expertsOf(plan), ...names([ofTiles(plan.tiles)]) }
  }
  const { memory } = planGraph(index, budgetOf, segments, program && needsOf(index, program))
  const { residency, tiles } = memory
  const experts = expertsOf(memory)
  if (!program) return { engine: 'onnx', ...sizes(memory, [residency]), ...experts, ...names([ofResidency(residency)]) }
  return { engine: 'mixed', ...sizes(memory, [residency, tiles]), ...experts, ...names([ofResidency(residency), ofTiles(tiles)]) }
}

function expertsOf({ cache }: { readonly cache: CachePlan }) {
  return { expertBytes: cache.total, expertCacheBytes: cache.budget }
}

interface Bytes {
  readonly pinnedBytes: number
  readonly bytesPerPass: number
}

function sizes(all: { readonly total: number; readonly budget: number; readonly minimum: number }, engines: readonly Bytes[]) {
  const sum = (of: (bytes: Bytes) => number) => engines.reduce((total, bytes) => total + of(bytes), 0)
  const [pinnedBytes, bytesPerToken] = [sum((bytes) => bytes.pinnedBytes), sum((bytes) => bytes.bytesPerPass)]
  return { weightBytes: all.total, budget: all.budget, minimum: all.minimum, pinnedBytes, bytesPerToken }
}

/** Names of weights, and whether each is wholly in memory. */
type Held = readonly (readonly [name: string, pinned: boolean])[]

function ofTiles({ tiles }: TilePlan): Held {
  return [...tiles].map(([name, tiles]) => [name, tiles.every(({ pinned }) => pinned)])
}

function ofResidency({ pinned, streamed }: ResidencyPlan): Held {
  return [...[...pinned].map((name) => [name, true] as const), ...streamed.map(({ name }) => [name, false] as const)]
}

/** Both engines may use a weight: it streams where one of them streams it. */
function names(engines: readonly Held[]) {
  const streamed = new Set(engines.flat().flatMap(([name, pinned]) => (pinned ? [] : [name])))
  const pinned = new Set(engines.flat().flatMap(([name]) => (streamed.has(name) ? [] : [name])))
  return { pinned: [...pinned], streamed: [...streamed] }
}
