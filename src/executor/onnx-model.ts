import type { Tensor } from 'onnxruntime-common'
import { AssetError, throwIfAborted } from '../core/errors.js'
import type { Engine, Logits, PreparedSegment } from '../engines/engine.js'
import { cutGraph, type GraphIndex } from '../graph/cut.js'
import { shown } from '../graph/names.js'
import { type Plan, planGraph } from '../plan/plan.js'
import type { GatherStep, SegmentStep } from '../plan/steps.js'
import type { Residency } from '../residency/residency.js'
import { Weights } from '../residency/weights.js'
import type { OpenAsset } from '../store/open-asset.js'
import type { WeightCounters } from './counters.js'
import { completeFeeds, type Values } from './feeds.js'
import type { LoadedModel, PassOptions, Session } from './loaded-model.js'
import { OnnxSession } from './onnx-session.js'
import type { PassQueue } from './pass-queue.js'
import type { LoadSettings } from './settings.js'
import { elementSize, tensorOver, toTensor } from './tensors.js'
import { WeightFiles } from './weight-files.js'

/** What all models in ONNX Runtime share. */
export interface OnnxParts {
  readonly engine: Engine
  readonly residency: Residency
  readonly queue: PassQueue
}

/** A model in ONNX Runtime: its graph cut into steps, each segment a session without weights, its weights within a budget. */
export class OnnxModel implements LoadedModel {
  readonly engine = 'onnx'
  readonly exactness = { precision: 'exact', kvCache: 'f32' } as const
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
  ) {
    const lastUse = new Map<string, number>()
    for (const [at, step] of plan.steps.entries())
      for (const name of step.kind === 'gather' ? [step.ids] : step.inputs) lastUse.set(name, at)
    this.lastUse = lastUse
  }

  /** Prepares a graph for running within a budget. @throws AssetError 'BUDGET_TOO_SMALL' | 'BAD_INPUT' | 'ENGINE' | 'MISSING' */
  static async load(
    asset: OpenAsset,
    index: GraphIndex,
    { engine, residency, queue }: OnnxParts,
    budgetOf: (total: number) => number,
    { onProgress, signal }: LoadSettings,
  ): Promise<OnnxModel> {
    const files = new WeightFiles(asset, index)
    const plan = planGraph(index, budgetOf)
    const prepared = new Map<SegmentStep, PreparedSegment>()
    const segments = plan.steps.filter((step): step is SegmentStep => step.kind === 'segment')
    try {
      for (const [at, step] of segments.entries()) {
        const nodes = step.nodes.map((node) => index.nodes[node]!)
        prepared.set(step, await engine.prepare(cutGraph(index, nodes, [...step.inputs, ...step.weights], step.outputs)))
        throwIfAborted(signal, 'load the model')
        onProgress?.(at + 1, segments.length)
      }
    } catch (error) {
      for (const segment of prepared.values()) await segment.release()
      throw error
    }
    return new OnnxModel(asset, index, plan, new Weights(residency, plan.residency, files.sources), files, prepared, queue)
  }

  forward(given: Values, options: PassOptions): Promise<Values> {
    return this.inTurn(given, 'all', options)
  }

  session(): Session {
    return new OnnxSession((feeds, logits, options) => this.inTurn(feeds, logits, options))
  }

  isResident(name: string): boolean {
    return this.weights.isResident(name)
  }

  counters(): WeightCounters {
    const { budget, pinnedBytes, bytesPerPass } = this.plan.residency
    const { computeMs, passes } = this
    return { budgetBytes: budget, pinnedBytes, streamedBytesPerPass: bytesPerPass, ...this.weights.stats, computeMs, passes }
  }

  private inTurn(given: Values, logits: Logits, options: PassOptions): Promise<Values> {
    return this.queue.run(() => this.pass(given, logits, options))
  }

  /** `logits` says for which positions of each sequence the output head is computed. */
  private async pass(given: Values, logits: Logits, { signal }: PassOptions): Promise<Values> {
    throwIfAborted(signal, 'run the model')
    const values = completeFeeds(this.index, given)
    await this.weights.beginPass()
    const keep = new Set(this.index.outputs.map(({ name }) => name))
    for (const [at, step] of this.plan.steps.entries()) {
      await this.breathe()
      throwIfAborted(signal, 'run the model')
      if (logits === 'none' && step === this.plan.head && at + 1 === this.plan.steps.length) break
      if (step.kind === 'gather') values.set(step.output, await this.gather(step, values.get(step.ids)!))
      else {
        const inputs = step.inputs.map((name) => values.get(name)!)
        const narrowed = logits === 'last' && step === this.plan.head ? inputs.map(lastRow) : inputs
        for (const [output, tensor] of await this.compute(step, at, narrowed)) values.set(output, tensor)
      }
      for (const name of step.kind === 'gather' ? [step.ids] : step.inputs)
        if (this.lastUse.get(name) === at && !keep.has(name)) values.delete(name)
    }
    this.passes += 1
    return new Map([...values].filter(([name]) => keep.has(name)))
  }

  private async compute(step: SegmentStep, at: number, inputs: readonly Tensor[]): Promise<[string, Tensor][]> {
    const next = this.plan.steps.slice(at + 1, at + 3).flatMap((later) => (later.kind === 'segment' ? later.weights : []))
    const bytes = await this.weights.lease(step.weights, next)
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
    })
  }
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
