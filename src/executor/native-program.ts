import { Tensor } from 'onnxruntime-common'
import { AssetError } from '../core/errors.js'
import type { TraceEvents } from '../core/trace.js'
import type { Logits } from '../engines/engine.js'
import {
  type Addon,
  type NamedTensor,
  type NativeAbort,
  type NativeMachine,
  type NativeSession,
  nativeError,
  type OpenedModel,
} from '../engines/native/addon.js'
import type { Exactness } from '../engines/native/exactness.js'
import { findAddon } from '../engines/native/find-addon.js'
import type { Program } from '../engines/native/program.js'
import { needsOf, type ProgramPlan, specText } from '../engines/native/spec.js'
import type { GraphIndex } from '../graph/cut.js'
import { type CachePlan, NO_CACHE } from '../plan/cache.js'
import type { TilePlan } from '../plan/tiles.js'
import type { Arriving } from '../store/arriving-asset.js'
import type { OpenAsset } from '../store/open-asset.js'
import { physicalCores } from './cores.js'
import type { WeightCounters } from './counters.js'
import type { Values } from './feeds.js'
import { arrivalsOf } from './native-arrivals.js'
import { nameFiles, openFiles } from './native-files.js'
import { clockAhead, nativeEvents } from './native-trace.js'
import type { LoadSettings } from './settings.js'
import { whileArriving } from './while-arriving.js'

const addon = () => findAddon() as Addon
const machines = new Map<string, NativeMachine>()

/** Threads are shared by all models that ask for the same. */
function machineOf({ threads = physicalCores(), instructionSet }: LoadSettings): NativeMachine {
  const key = `${threads} ${instructionSet}`
  const machine = machines.get(key) ?? new (addon().NativeMachine)(threads, instructionSet)
  machines.set(key, machine)
  return machine
}

/** How a segment runs. */
export interface RunOptions {
  /** the caches of each sequence of the batch; without any, caches are inputs and outputs */
  readonly sessions?: readonly NativeSession[]
  /** for which positions of each sequence the output head is computed; all when left out */
  readonly logits?: Logits
  readonly signal?: AbortSignal | undefined
  /** the first output of floats that is as long is written there */
  readonly into?: Float32Array | undefined
}

/** A program that the native engine has opened: weights are read straight into it, caches appended in place. */
export class NativeProgram {
  private runs = 0
  private runMs = 0
  private closed = false
  private mostCached = 0
  /** scales, and the weight whose tiles they are in */
  private readonly scaled: ReadonlyMap<string, string>

  private constructor(
    private readonly program: Program,
    private readonly plan: TilePlan,
    private readonly cache: CachePlan,
    private readonly model: OpenedModel,
    private readonly files: readonly string[],
    /** how it computes, whatever was asked for */
    readonly exactness: Exactness,
    private readonly named: (error: unknown) => AssetError,
    private readonly arriving: Arriving | undefined,
  ) {
    this.scaled = new Map([...program.scales].map(([weight, scale]) => [scale, weight]))
  }

  /** Reads what stays in memory and begins to stream the rest. @throws AssetError 'BAD_INPUT' | 'CORRUPT' | 'IO' | 'ABORTED' */
  static async open(
    asset: OpenAsset,
    index: GraphIndex,
    program: Program,
    plan: Pick<ProgramPlan, 'tiles' | 'cache'>,
    settings: LoadSettings,
  ): Promise<NativeProgram> {
    const { files, sums } = await openFiles(asset, index, program)
    const arrivals = asset.arriving && arrivalsOf(asset.arriving, [...files.values()])
    const { signal, map, kvCache } = settings
    const named = (error: unknown) => nativeError(error, (message) => nameFiles(message, files, asset.where))
    try {
      const model = await withAbort(signal, (abort) =>
        machineOf(settings).open(specText(index, program, plan, files, settings), sums, abort, arrivals),
      )
      const exactness: Exactness = { precision: model.fast ? 'fast' : 'exact', kvCache }
      const kept = map ? mapped(plan.tiles, needsOf(index, program).vectorBytes) : plan.tiles
      return new NativeProgram(program, kept, map ? NO_CACHE : plan.cache, model, [...files.keys()], exactness, named, asset.arriving)
    } catch (error) {
      throw named(error)
    }
  }

  session(): NativeSession {
    return this.model.session()
  }

  /** Runs one segment of a pass: its outputs by name. Segment 0 begins a pass, each other follows the one before it. */
  async run(segment: number, feeds: Values, { sessions = [], logits = 'all', signal, into }: RunOptions): Promise<Values> {
    if (this.closed) throw new AssetError('CLOSED', 'Cannot run the model: it was closed')
    const inputs = [...feeds].map(([name, tensor]) => toNative(name, tensor))
    const started = performance.now()
    try {
      const outputs = await whileArriving(this.arriving, signal, () =>
        withAbort(signal, (abort) => this.model.run(segment, inputs, sessions, logits, abort, into)),
      )
      return new Map(outputs.map((tensor) => [tensor.name, fromNative(tensor)]))
    } catch (error) {
      throw error === this.arriving?.failure ? error : this.named(error)
    } finally {
      this.runMs += performance.now() - started
      this.runs += 1
    }
  }

  /** True for a weight that is wholly in memory. */
  isResident(name: string): boolean {
    const weight = this.scaled.get(name)
    if (this.cache.names.has(weight ?? name)) return this.model.hasCached(this.program.matrices.indexOf(weight ?? name))
    const tiles = this.plan.tiles.get(weight ?? name)
    if (!tiles) return this.program.vectors.includes(name)
    return (weight !== undefined && this.plan.scalesPinned) || tiles.every(({ pinned }) => pinned)
  }

  /** Its counters; `passes` are runs of segments. */
  counters(): WeightCounters {
    const { budget, pinnedBytes, bytesPerPass, slots, slotBytes } = this.plan
    const { bytesRead, diskBytes, hits, waits, waitedMs, diskIdleMs, expertBytes, expertBytesRead, cachedBytes } = this.model.stats()
    this.mostCached = Math.max(this.mostCached, cachedBytes)
    const residentBytes = this.closed ? 0 : pinnedBytes + slots * slotBytes + cachedBytes
    return {
      budgetBytes: budget + this.cache.budget,
      pinnedBytes,
      streamedBytesPerPass: bytesPerPass,
      expertBytes,
      expertBytesRead,
      residentBytes,
      peakResidentBytes: pinnedBytes + slots * slotBytes + this.mostCached,
      bytesRead,
      diskBytes,
      hits,
      waits,
      waitMs: waitedMs,
      computeMs: this.runMs - waitedMs,
      passes: this.runs,
      diskIdleMs,
    }
  }

  /** What was recorded since it was taken before; nothing unless the model was loaded with `trace`. */
  takeTrace(): TraceEvents {
    return nativeEvents(this.model.takeEvents(), clockAhead(addon().clockMs), this.program, this.files)
  }

  close(): void {
    if (this.closed) return
    this.closed = true
    this.model.close()
  }
}

/** What a plan comes to where the files of its matrices are mapped: of those nothing is the model's own, nor known to be in memory. */
function mapped(plan: TilePlan, vectors: number): TilePlan {
  const tiles = [...plan.tiles].map(([name, list]) => [name, list.map(({ rows }) => ({ rows, pinned: false }))] as const)
  return { ...plan, scalesPinned: false, budget: vectors, pinnedBytes: vectors, tiles: new Map(tiles) }
}

/** Makes a call that a signal can stop. */
async function withAbort<T>(signal: AbortSignal | undefined, call: (abort: NativeAbort) => Promise<T>): Promise<T> {
  const abort = new (addon().Abort)()
  const onAbort = () => abort.fire()
  if (signal?.aborted) onAbort()
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    return await call(abort)
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
}

function toNative(name: string, tensor: Tensor): NamedTensor {
  const dims = [...tensor.dims]
  switch (tensor.type) {
    case 'float32':
      return { name, dims, f32: tensor.data as Float32Array }
    case 'int64':
      return { name, dims, i64: tensor.data as BigInt64Array }
    case 'bool':
      return { name, dims, bool: tensor.data as Uint8Array }
    default:
      throw new AssetError('UNSUPPORTED', `Cannot run the model natively: the input ${name} is of ${tensor.type}`)
  }
}

function fromNative({ name, dims, f32, i64, bool }: NamedTensor): Tensor {
  if (f32) return new Tensor('float32', f32, dims)
  if (i64) return new Tensor('int64', i64, dims)
  if (bool) return new Tensor('bool', bool, dims)
  throw new AssetError('ENGINE', `Cannot run the model: its output ${name} has no data`)
}
