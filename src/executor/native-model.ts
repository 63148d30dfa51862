import { availableParallelism } from 'node:os'
import { Tensor } from 'onnxruntime-common'
import { AssetError } from '../core/errors.js'
import type { Logits } from '../engines/engine.js'
import {
  type Addon,
  findAddon,
  type NamedTensor,
  type NativeAbort,
  type NativeMachine,
  type NativeSession,
  nativeError,
  type OpenedModel,
} from '../engines/native/addon.js'
import type { Exactness } from '../engines/native/exactness.js'
import type { Program } from '../engines/native/program.js'
import { type NativeFile, planProgram, specText } from '../engines/native/spec.js'
import type { GraphIndex } from '../graph/cut.js'
import { shown } from '../graph/names.js'
import type { TilePlan } from '../plan/tiles.js'
import type { OpenAsset } from '../store/open-asset.js'
import type { WeightCounters } from './counters.js'
import { DecodeTurns } from './decode-turns.js'
import { completeFeeds, type Values } from './feeds.js'
import type { LoadedModel, PassOptions, Session } from './loaded-model.js'
import { lastLogits } from './onnx-session.js'
import type { LoadSettings } from './settings.js'

const addon = () => findAddon() as Addon
const machines = new Map<string, NativeMachine>()

/** Threads are shared by all models that ask for the same. */
function machineOf({ threads = availableParallelism(), instructionSet }: LoadSettings): NativeMachine {
  const key = `${threads} ${instructionSet}`
  const machine = machines.get(key) ?? new (addon().NativeMachine)(threads, instructionSet)
  machines.set(key, machine)
  return machine
}

/** A model in the native engine: one program, weights read straight into it, caches appended in place. */
export class NativeModel implements LoadedModel {
  readonly engine = 'native'
  private passes = 0
  private passMs = 0
  private closed = false
  /** scales, and the weight whose tiles they are in */
  private readonly scaled: ReadonlyMap<string, string>
  private readonly turns = new DecodeTurns<NativeSession>((steps, signal) =>
    this.next(
      steps.map(({ session }) => session),
      steps.map(({ id }) => [id]),
      signal,
    ),
  )

  private constructor(
    readonly asset: OpenAsset,
    readonly index: GraphIndex,
    private readonly program: Program,
    private readonly plan: TilePlan,
    private readonly model: OpenedModel,
    readonly exactness: Exactness,
    private readonly named: (error: unknown) => AssetError,
  ) {
    this.scaled = new Map([...program.scales].map(([weight, scale]) => [scale, weight]))
  }

  /** Reads what stays in memory and begins to stream the rest. @throws AssetError 'BUDGET_TOO_SMALL' | 'BAD_INPUT' | 'CORRUPT' | 'IO' | 'ABORTED' */
  static async load(
    asset: OpenAsset,
    index: GraphIndex,
    program: Program,
    budgetOf: (total: number) => number,
    settings: LoadSettings,
  ): Promise<NativeModel> {
    const plan = planProgram(index, program, budgetOf)
    const { files, sums } = await openFiles(asset, index, program)
    const named = (error: unknown) => nativeError(error, (message) => nameFiles(message, files, asset.where))
    try {
      const model = await withAbort(settings.signal, (abort) =>
        machineOf(settings).open(specText(index, program, plan, files, settings), sums, abort),
      )
      const exactness: Exactness = { precision: model.fast ? 'fast' : 'exact', kvCache: settings.kvCache }
      return new NativeModel(asset, index, program, plan, model, exactness, named)
    } catch (error) {
      throw named(error)
    }
  }

  async forward(given: Values, options: PassOptions): Promise<Values> {
    const feeds = [...completeFeeds(this.index, given)].map(([name, tensor]) => toNative(name, tensor))
    const outputs = await this.turns.pass(() => this.run(feeds, [], 'all', options))
    return new Map(outputs.map((tensor) => [tensor.name, fromNative(tensor)]))
  }

  session(): Session {
    const session = this.model.session()
    const pass = async (ids: readonly number[], { signal }: PassOptions) => {
      if (ids.length === 1 && session.length > 0) return this.turns.step(session, ids[0]!, signal)
      return (await this.turns.pass(() => this.next([session], [ids], signal)))[0]!
    }
    const extend = async (ids: readonly number[], options: PassOptions) => {
      await this.turns.pass(() => this.run(this.feeds([session], [ids]), [session], 'none', options))
    }
    return {
      get bytes() {
        return session.bytes
      },
      extend,
      pass,
      free: () => session.free(),
    }
  }

  /** The last logits of each sequence after `rows` of new tokens, as many for each. */
  private async next(
    sessions: readonly NativeSession[],
    rows: readonly (readonly number[])[],
    signal?: AbortSignal,
  ): Promise<Float32Array[]> {
    const outputs = await this.run(this.feeds(sessions, rows), sessions, 'last', { signal })
    const logits = outputs.find(({ name }) => name === 'logits')
    const all = lastLogits(logits && fromNative(logits), rows.length)
    return rows.map((_, row) => all.subarray((row * all.length) / rows.length, ((row + 1) * all.length) / rows.length))
  }

  /** What the graph is given for `rows` of new tokens of sequences; shorter sequences count as padded on the left. */
  private feeds(sessions: readonly NativeSession[], rows: readonly (readonly number[])[]): NamedTensor[] {
    const count = rows[0]!.length
    const pasts = sessions.map(({ length }) => length)
    const total = Math.max(...pasts) + count
    const each = (width: number, at: (row: number, column: number) => number) =>
      BigInt64Array.from({ length: rows.length * width }, (_, i) => BigInt(at(Math.floor(i / width), i % width)))
    const made: Record<string, () => BigInt64Array> = {
      input_ids: () => each(count, (row, column) => rows[row]![column]!),
      attention_mask: () => each(total, (row, column) => (column < total - count - pasts[row]! ? 0 : 1)),
      position_ids: () => each(count, (row, column) => pasts[row]! + column),
      token_type_ids: () => each(count, () => 0),
    }
    return this.program.inputs.map(({ name }): NamedTensor => {
      const data = Object.hasOwn(made, name) ? made[name]!() : undefined
      if (!data) throw new AssetError('UNSUPPORTED', `Cannot generate: the model has the input ${name}`)
      return { name, dims: [rows.length, data.length / rows.length], i64: data }
    })
  }

  private async run(
    feeds: NamedTensor[],
    sessions: readonly NativeSession[],
    logits: Logits,
    { signal }: PassOptions,
  ): Promise<NamedTensor[]> {
    if (this.closed) throw new AssetError('CLOSED', 'Cannot run the model: it was closed')
    const started = performance.now()
    try {
      return await withAbort(signal, (abort) => this.model.run(feeds, sessions, logits, abort))
    } catch (error) {
      throw this.named(error)
    } finally {
      this.passMs += performance.now() - started
      this.passes += 1
    }
  }

  isResident(name: string): boolean {
    const tiles = this.plan.tiles.get(this.scaled.get(name) ?? name)
    return this.program.vectors.includes(name) || (tiles?.every(({ pinned }) => pinned) ?? false)
  }

  counters(): WeightCounters {
    const { budget, pinnedBytes, bytesPerPass, slots, slotBytes } = this.plan
    const { bytesRead, diskBytes, hits, waits, waitedMs, diskIdleMs } = this.model.stats()
    const residentBytes = this.closed ? 0 : pinnedBytes + slots * slotBytes
    return {
      budgetBytes: budget,
      pinnedBytes,
      streamedBytesPerPass: bytesPerPass,
      residentBytes,
      peakResidentBytes: pinnedBytes + slots * slotBytes,
      bytesRead,
      diskBytes,
      hits,
      waits,
      waitMs: waitedMs,
      computeMs: this.passMs - waitedMs,
      passes: this.passes,
      diskIdleMs,
    }
  }

  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    this.model.close()
  }
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

/** The fragments that hold a program's weights, and the checksums of all their pages. */
async function openFiles(
  asset: OpenAsset,
  index: GraphIndex,
  program: Program,
): Promise<{ files: Map<string, NativeFile>; sums: Uint32Array }> {
  const files = new Map<string, NativeFile>()
  const tables: Uint32Array[] = []
  let pages = 0
  for (const name of [...program.vectors, ...program.matrices, ...program.scales.values()]) {
    const { location, offset, length } = index.weights.get(name)!.data
    const file = asset.manifest.files.get(location)
    if (!file || offset + length > file.size)
      throw new AssetError(
        'BAD_INPUT',
        `Cannot run ${asset.where}: its graph looks for ${shown(name)} in ${shown(location)}, where it isn't`,
      )
    if (files.has(location)) continue
    const sums = await asset.pages(location)
    files.set(location, { key: String(file.cid), path: asset.pathOf(file), size: file.size, firstSum: pages })
    tables.push(sums)
    pages += sums.length
  }
  const sums = new Uint32Array(pages)
  let at = 0
  for (const table of tables) {
    sums.set(table, at)
    at += table.length
  }
  return { files, sums }
}

/** Paths of the store say nothing to people: a message names files as the asset does. */
function nameFiles(message: string, files: ReadonlyMap<string, NativeFile>, where: string): string {
  for (const [location, { path }] of files) if (message.includes(path)) return message.replaceAll(path, `${location} of ${where}`)
  return message
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
