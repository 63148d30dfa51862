import { Tensor } from 'onnxruntime-common'
import { AssetError } from '../core/errors.js'
import type { TraceEvents } from '../core/trace.js'
import type { NativeSession } from '../engines/native/addon.js'
import type { Exactness } from '../engines/native/exactness.js'
import type { Program } from '../engines/native/program.js'
import { planProgram } from '../engines/native/spec.js'
import type { GraphIndex } from '../graph/cut.js'
import type { OpenAsset } from '../store/open-asset.js'
import type { WeightCounters } from './counters.js'
import { DecodeTurns } from './decode-turns.js'
import { completeFeeds, type Values } from './feeds.js'
import type { LoadedModel, PassOptions, Session } from './loaded-model.js'
import { lastLogits } from './logits.js'
import { NativeProgram } from './native-program.js'
import type { LoadSettings } from './settings.js'

/** A model that is wholly native: one program of one segment, whose single tokens of several generations share a pass. */
export class NativeModel implements LoadedModel {
  readonly engine = 'native'
  private readonly takes: ReadonlySet<string>
  /** the logits of the last pass of a generation, to be written over: a vocabulary wide, they would soon be 30 MB of garbage */
  private logits: Float32Array | undefined
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
    private readonly native: NativeProgram,
  ) {
    const caches = program.caches.flatMap(({ past }) => past)
    this.takes = new Set([...caches, ...program.segments[0]!.inputs.map(({ name }) => name)])
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
    return new NativeModel(asset, index, program, await NativeProgram.open(asset, index, program, plan, settings))
  }

  async forward(given: Values, { signal }: PassOptions): Promise<Values> {
    const feeds = [...completeFeeds(this.index, given)].filter(([name]) => this.takes.has(name))
    return this.turns.pass(() => this.native.run(0, new Map(feeds), { signal }))
  }

  session(): Session {
    const session = this.native.session()
    const pass = async (ids: readonly number[], { signal }: PassOptions) => {
      if (ids.length === 1 && session.length > 0) return this.turns.step(session, ids[0]!, signal)
      return (await this.turns.pass(() => this.next([session], [ids], signal)))[0]!
    }
    const extend = async (ids: readonly number[], { signal }: PassOptions) => {
      await this.turns.pass(() => this.native.run(0, this.feeds([session], [ids]), { sessions: [session], logits: 'none', signal }))
    }
    return {
      get bytes() {
        return session.bytes
      },
      extend,
      pass,
      free: () => {
        this.turns.leave(session)
        session.free()
      },
    }
  }

  /** The last logits of each sequence after `rows` of new tokens, as many for each. */
  private async next(
    sessions: readonly NativeSession[],
    rows: readonly (readonly number[])[],
    signal?: AbortSignal,
  ): Promise<Float32Array[]> {
    const outputs = await this.native.run(0, this.feeds(sessions, rows), { sessions, logits: 'last', signal, into: this.logits })
    const logits = outputs.get('logits')
    const all = lastLogits(logits, rows.length)
    this.logits = logits?.data as Float32Array
    return rows.map((_, row) => all.subarray((row * all.length) / rows.length, ((row + 1) * all.length) / rows.length))
  }

  /** What the graph is given for `rows` of new tokens of sequences; shorter sequences count as padded on the left. */
  private feeds(sessions: readonly NativeSession[], rows: readonly (readonly number[])[]): Values {
    const count = rows[0]!.length
    const pasts = sessions.map(({ length }) => length)
    const total = Math.max(...pasts) + count
    const each = (width: number, at: (row: number, column: number) => number) => {
      const data = BigInt64Array.from({ length: rows.length * width }, (_, i) => BigInt(at(Math.floor(i / width), i % width)))
      return new Tensor('int64', data, [rows.length, width])
    }
    const made: Record<string, () => Tensor> = {
      input_ids: () => each(count, (row, column) => rows[row]![column]!),
      attention_mask: () => each(total, (row, column) => (column < total - count - pasts[row]! ? 0 : 1)),
      position_ids: () => each(count, (row, column) => pasts[row]! + column),
      token_type_ids: () => each(count, () => 0),
    }
    const feeds = this.program.segments[0]!.inputs.map(({ name }): [string, Tensor] => {
      const tensor = Object.hasOwn(made, name) ? made[name]!() : undefined
      if (!tensor) throw new AssetError('UNSUPPORTED', `Cannot generate: the model has the input ${name}`)
      return [name, tensor]
    })
    return new Map(feeds)
  }

  get exactness(): Exactness {
    return this.native.exactness
  }

  isResident(name: string): boolean {
    return this.native.isResident(name)
  }

  counters(): WeightCounters {
    return this.native.counters()
  }

  takeTrace(): TraceEvents {
    return this.native.takeTrace()
  }

  async close(): Promise<void> {
    this.native.close()
  }
}
