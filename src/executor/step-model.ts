import type { Tensor } from 'onnxruntime-common'
import { AssetError, throwIfAborted } from '../core/errors.js'
import { type TraceEvents, TraceLog } from '../core/trace.js'
import type { Engine, PreparedSegment } from '../engines/engine.js'
import type { Division } from '../engines/native/divide.js'
import type { Exactness } from '../engines/native/exactness.js'
import { needsOf } from '../engines/native/spec.js'
import { cutGraph, type GraphIndex } from '../graph/cut.js'
import { shown } from '../graph/names.js'
import { NO_CACHE } from '../plan/cache.js'
import { type Plan, planGraph, segmentsOf } from '../plan/plan.js'
import { type BranchStep, type GatherStep, madeBy, type NativeStep, type PlainStep, type SegmentStep, usedBy } from '../plan/steps.js'
import type { Residency } from '../residency/residency.js'
import { Weights } from '../residency/weights.js'
import type { OpenAsset } from '../store/open-asset.js'
import { addCounters, type WeightCounters } from './counters.js'
import { completeFeeds, tokensOf, type Values } from './feeds.js'
import type { LoadedModel, PassOptions, Session } from './loaded-model.js'
import { NativeProgram, type RunOptions } from './native-program.js'
import type { PassQueue } from './pass-queue.js'
import { toTensor } from './plain-tensor.js'
import type { LoadSettings } from './settings.js'
import { StepSession } from './step-session.js'
import { elementSize, tensorOver } from './tensors.js'
import { WeightFiles } from './weight-files.js'
import { whileArriving } from './while-arriving.js'

/** What all models share that ONNX Runtime computes, wholly or in part. */
export interface OnnxParts {
  readonly engine: Engine
  readonly residency: Residency
  readonly queue: PassQueue
}

/**
 * A model whose graph is cut into steps. Those in ONNX Runtime are sessions without weights; those in the native engine,
 * if there are any, are segments of one program, which keeps the caches of its attentions. One budget for both.
 */
export class StepModel implements LoadedModel {
  private computeMs = 0
  private passes = 0
  private lastYield = 0
  private readonly lastUse: ReadonlyMap<string, number>

  private constructor(
    readonly asset: OpenAsset,
    readonly index: GraphIndex,
    private readonly plan: Plan,
    private readonly weights: Weights,
    private readonly files: WeightFiles,
    private readonly prepared: Map<SegmentStep, PreparedSegment>,
    private readonly queue: PassQueue,
    private readonly native: NativeProgram | undefined,
    /** inputs that are caches of the native engine */
    private readonly nativePast: ReadonlySet<string>,
    private readonly trace: TraceLog | undefined,
  ) {
    const lastUse = new Map<string, number>()
    for (const [at, step] of plan.steps.entries()) for (const name of usedBy(step)) lastUse.set(name, at)
    this.lastUse = lastUse
  }

  get engine(): 'mixed' | 'onnx' {
    return this.native ? 'mixed' : 'onnx'
  }

  /** Prepares a graph for running within a budget. @throws AssetError 'BUDGET_TOO_SMALL' | 'BAD_INPUT' | 'ENGINE' | 'MISSING' | 'CORRUPT' | 'IO' | 'ABORTED' */
  static async load(
    asset: OpenAsset,
    index: GraphIndex,
    { segments: parts, program }: Division,
    { engine, residency, queue }: OnnxParts,
    budgetOf: (total: number) => number,
    settings: LoadSettings,
  ): Promise<StepModel> {
    const { onProgress, signal } = settings
    const files = new WeightFiles(asset, index)
    const plan = planGraph(index, budgetOf, parts, program && needsOf(index, program))
    const prepared = new Map<SegmentStep, PreparedSegment>()
    const segments = segmentsOf(plan.steps)
    let native: NativeProgram | undefined
    try {
      for (const [at, step] of segments.entries()) {
        prepared.set(step, await engine.prepare(cutGraph(index, step.nodes, [...step.inputs, ...step.weights], step.outputs)))
        throwIfAborted(signal, 'load the model')
        onProgress?.(at + 1, segments.length)
      }
      native = program && (await NativeProgram.open(asset, index, program, { tiles: plan.memory.tiles, cache: NO_CACHE }, settings))
      const past = new Set(program?.caches.flatMap(({ past }) => past))
      const trace = settings.trace ? new TraceLog() : undefined
      const weights = new Weights(residency, plan.memory.residency, plan.memory.cache, files.sources, trace)
      return new StepModel(asset, index, plan, weights, files, prepared, queue, native, past, trace)
    } catch (error) {
      native?.close()
      for (const segment of prepared.values()) await segment.release()
      throw error
    }
  }

  forward(given: Values, options: PassOptions): Promise<Values> {
    return this.queue.run(() => this.whilePassing(() => completeFeeds(this.index, given), options))
  }

  /** `given`: inputs that are the same in every pass of the session. */
  session(given: Values = new Map()): Session {
    const index = { ...this.index, inputs: this.index.inputs.filter(({ name }) => !this.nativePast.has(name)) }
    const native = this.native?.session()
    const sessions = native ? [native] : []
    return new StepSession(native, tokensOf(index), (feeds, past, logits, options) =>
      this.queue.run(() =>
        this.whilePassing(() => completeFeeds(index, new Map([...given, ...feeds]), past), { ...options, sessions, logits }),
      ),
    )
  }

  get exactness(): Exactness {
    return this.native?.exactness ?? { precision: 'exact', kvCache: 'f32' }
  }

  isResident(name: string): boolean {
    return this.weights.isResident(name) || (this.native?.isResident(name) ?? false)
  }

  counters(): WeightCounters {
    const { residency, cache } = this.plan.memory
    const { pinnedBytes, bytesPerPass } = residency
    const { computeMs, passes } = this
    const own = {
      budgetBytes: residency.budget + cache.budget,
      pinnedBytes,
      streamedBytesPerPass: bytesPerPass,
      ...this.weights.stats,
      computeMs,
      passes,
    }
    return this.native ? { ...addCounters(own, this.native.counters()), passes } : own
  }

  /** What both engines recorded; a pass is all of its segments. */
  takeTrace(): TraceEvents {
    const own = this.trace?.take() ?? { events: [], leftOut: 0 }
    const native = this.native?.takeTrace() ?? { events: [], leftOut: 0 }
    const segments = native.events.filter(({ lane }) => lane !== 'pass')
    return { events: [...own.events, ...segments], leftOut: own.leftOut + native.leftOut }
  }

  private whilePassing(feeds: () => Values, options: RunOptions): Promise<Values> {
    return whileArriving(this.asset.arriving, options.signal, () => this.pass(feeds, options))
  }

  private async pass(feeds: () => Values, options: RunOptions): Promise<Values> {
    const { signal, logits = 'all' } = options
    throwIfAborted(signal, 'run the model')
    const started = performance.now()
    const values = feeds()
    await this.weights.beginPass()
    const keep = new Set(this.index.outputs.map(({ name }) => name))
    for (const [at, step] of this.plan.steps.entries()) {
      await this.breathe()
      throwIfAborted(signal, 'run the model')
      if (logits === 'none' && step === this.plan.head && at + 1 === this.plan.steps.length) break
      if (step.kind === 'native')
        for (const [name, tensor] of await this.natively(step, values, at + 1 === this.plan.steps.length, options)) values.set(name, tensor)
      else if (step.kind === 'branch') await this.branch(step, at, values)
      else await this.plain(step, values, this.soonAfter(at), logits === 'last' && step === this.plan.head)
      for (const name of usedBy(step)) if (this.lastUse.get(name) === at && !keep.has(name)) values.delete(name)
    }
    this.passes += 1
    this.trace?.record('pass', 'pass', started)
    return new Map([...values].filter(([name]) => keep.has(name)))
  }

  /** In a session, the caches among its inputs are not there: the session has them. The head can be left out only where nothing follows. */
  private natively({ segment, inputs }: NativeStep, values: Values, isLast: boolean, options: RunOptions): Promise<Values> {
    const feeds = inputs.flatMap((name): [string, Tensor][] => (values.has(name) ? [[name, values.get(name)!]] : []))
    const logits = options.logits === 'none' && !isLast ? 'last' : (options.logits ?? 'all')
    return this.native!.run(segment, new Map(feeds), { ...options, logits })
  }

  /** Runs a step and adds what it makes to `values`; the head perhaps for the last rows alone. */
  private async plain(step: PlainStep, values: Values, soon: readonly string[], last = false): Promise<void> {
    if (step.kind === 'gather') {
      values.set(step.output, await this.gather(step, values.get(step.ids)!))
      return
    }
    const inputs = step.inputs.map((name) => values.get(name)!)
    for (const [name, tensor] of await this.compute(step, soon, last ? inputs.map(lastRow) : inputs)) values.set(name, tensor)
  }

  /** Runs a branch that rows are sent to. What other branches behind it will need is read meanwhile. */
  private async branch(step: BranchStep, at: number, values: Values): Promise<void> {
    if (!hasRows(step, values)) {
      values.set(step.output, values.get(step.data)!)
      return
    }
    this.weights.expect([step, ...this.branchesAfter(at, values)].flatMap(({ weights }) => weights))
    for (const inner of step.steps) await this.plain(inner, values, [])
    for (const name of step.steps.flatMap(madeBy)) if (name !== step.output) values.delete(name)
  }

  /** The branches after a step that rows are sent to, as far as that is known. */
  private branchesAfter(at: number, values: Values): BranchStep[] {
    const found: BranchStep[] = []
    for (let next = at + 1; next < this.plan.steps.length; next++) {
      const step = this.plan.steps[next]!
      if (step.kind !== 'branch' || !values.has(step.rows)) break
      if (hasRows(step, values)) found.push(step)
    }
    return found
  }

  private soonAfter(at: number): string[] {
    return this.plan.steps.slice(at + 1, at + 3).flatMap((later) => (later.kind === 'segment' ? later.weights : []))
  }

  private async compute(step: SegmentStep, soon: readonly string[], inputs: readonly Tensor[]): Promise<[string, Tensor][]> {
    const bytes = await this.weights.lease(step.weights, soon)
    const weights = step.weights.map((name, i) => {
      const { tensor } = this.index.weights.get(name)!
      return tensorOver(tensor.dataType, bytes[i]!, tensor.dims.map(Number))
    })
    const started = performance.now()
    try {
      const outputs = await this.prepared.get(step)!.run([...inputs, ...weights])
      return step.outputs.map((name, i) => [name, outputs[i]!])
    } finally {
      this.computeMs += performance.now() - started
      this.trace?.record('compute', step.weights[0] ?? step.outputs[0]!, started)
      await this.weights.release(step.weights)
    }
  }

  /** The rows of a table that ids (...) name, as (..., width). @throws AssetError 'BAD_INPUT' for an id outside the table */
  private async gather({ table, ids }: GatherStep, wanted: Tensor): Promise<Tensor> {
    const { tensor, data } = this.index.weights.get(table)!
    const [count, ...row] = tensor.dims.map(Number) as [number, ...number[]]
    const rows = Array.from(wanted.data as BigInt64Array, Number)
    for (const id of rows)
      if (!(id >= 0 && id < count))
        throw new AssetError('BAD_INPUT', `Cannot run the model: ${shown(ids)} holds ${id}, ${shown(table)} has ${count} rows`)
    const rowBytes = row.reduce((product, dim) => product * dim, elementSize(tensor.dataType))
    const bytes = await this.weights.rows(table, rows, rowBytes, (id, target) =>
      this.files.read(data.location, target, data.offset + id * rowBytes),
    )
    return tensorOver(tensor.dataType, bytes, [...wanted.dims, ...row])
  }

  /** Lets messages in (an abort, say) now and then: ONNX Runtime keeps the thread while it computes. */
  private async breathe(): Promise<void> {
    if (performance.now() - this.lastYield < 4) return
    await new Promise((resolve) => setImmediate(resolve))
    this.lastYield = performance.now()
  }

  async close(): Promise<void> {
    await this.queue.run(async () => {
      await this.weights.close()
      for (const segment of this.prepared.values()) await segment.release()
      this.prepared.clear()
      this.native?.close()
    })
  }
}

function hasRows({ rows }: BranchStep, values: Values): boolean {
  return values.get(rows)!.size > 0
}

/** (batch, sequence, width) -> (batch, 1, width): the last position of each row. */
function lastRow(tensor: Tensor): Tensor {
  if (tensor.type !== 'float32' || tensor.dims.length !== 3) return tensor
  const [batch, sequence, width] = tensor.dims as [number, number, number]
  const from = tensor.data as Float32Array
  const data = new Float32Array(batch * width)
  for (let row = 0; row < batch; row++)
    data.set(from.subarray((row * sequence + sequence - 1) * width, (row + 1) * sequence * width), row * width)
  return toTensor({ type: 'float32', data, dims: [batch, 1, width] }, 'the last row')
}
