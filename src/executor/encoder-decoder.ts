import { Tensor } from 'onnxruntime-common'
import type { TraceEvents } from '../core/trace.js'
import type { Exactness } from '../engines/native/exactness.js'
import { engineOf, type PlannedHalf, planHalves } from '../engines/native/halves.js'
import type { GraphIndex } from '../graph/cut.js'
import type { Halves } from '../graph/halves.js'
import type { OpenAsset } from '../store/open-asset.js'
import { addCounters, type WeightCounters } from './counters.js'
import { completeFeeds, type Values } from './feeds.js'
import type { LoadedModel, PassOptions, Session } from './loaded-model.js'
import type { LoadSettings } from './settings.js'
import { type OnnxParts, StepModel } from './step-model.js'

/**
 * A model of an encoder and a decoder, each with a budget of its own: the encoder runs once for a generation, and what it gives,
 * the keys and values that every layer of the decoder makes of it too, is kept for the decoder's passes.
 */
export class EncoderDecoderModel implements LoadedModel {
  private constructor(
    readonly index: GraphIndex,
    readonly engine: LoadedModel['engine'],
    private readonly encoder: StepModel,
    private readonly decoder: StepModel,
  ) {}

  /** Prepares both halves of a graph for running within a budget. @throws AssetError 'BUDGET_TOO_SMALL' | 'BAD_INPUT' | 'ENGINE' | 'MISSING' | 'CORRUPT' | 'IO' | 'ABORTED' */
  static async load(
    asset: OpenAsset,
    index: GraphIndex,
    halves: Halves,
    onnx: OnnxParts,
    budgetOf: (total: number) => number,
    settings: LoadSettings,
  ): Promise<EncoderDecoderModel> {
    const planned = planHalves(halves, settings.engine, budgetOf)
    const load = ({ index, division, budget }: PlannedHalf) => StepModel.load(asset, index, division, onnx, () => budget, settings)
    const encoder = await load(planned.encoder)
    try {
      const engine = engineOf([planned.encoder.division, planned.decoder.division])
      return new EncoderDecoderModel(index, engine, encoder, await load(planned.decoder))
    } catch (error) {
      await encoder.close()
      throw error
    }
  }

  get asset(): OpenAsset {
    return this.encoder.asset
  }

  async forward(given: Values, options: PassOptions): Promise<Values> {
    const feeds = completeFeeds(this.index, given)
    const encoded = await this.encoder.forward(inputsOf(this.encoder, feeds), options)
    const decoded = await this.decoder.forward(inputsOf(this.decoder, new Map([...feeds, ...encoded])), options)
    const wanted = new Set(this.index.outputs.map(({ name }) => name))
    return new Map([...encoded, ...decoded].filter(([name]) => wanted.has(name)))
  }

  session(): Session {
    return new EncoderDecoderSession(
      (ids, options) => this.encoder.forward(new Map([['input_ids', ids]]), options),
      (encoded) => this.decoder.session(inputsOf(this.decoder, encoded)),
    )
  }

  get exactness(): Exactness {
    return this.decoder.exactness
  }

  isResident(name: string): boolean {
    return this.encoder.isResident(name) || this.decoder.isResident(name)
  }

  counters(): WeightCounters {
    return addCounters(this.encoder.counters(), this.decoder.counters())
  }

  takeTrace(): TraceEvents {
    const [encoder, decoder] = [this.encoder.takeTrace(), this.decoder.takeTrace()]
    return { events: [...encoder.events, ...decoder.events], leftOut: encoder.leftOut + decoder.leftOut }
  }

  async close(): Promise<void> {
    await this.encoder.close()
    await this.decoder.close()
  }
}

/** Those of some values that are inputs of a model. */
function inputsOf({ index }: LoadedModel, values: Values): Values {
  const names = new Set(index.inputs.map(({ name }) => name))
  return new Map([...values].filter(([name]) => names.has(name)))
}

/** What the encoder made of a prompt, and the caches of the decoder. */
class EncoderDecoderSession implements Session {
  private encoded: Values = new Map()
  private decoder: Session | undefined

  constructor(
    private readonly encodeIds: (ids: Tensor, options: PassOptions) => Promise<Values>,
    private readonly begin: (encoded: Values) => Session,
  ) {}

  async encode(ids: readonly number[], options: PassOptions): Promise<void> {
    this.encoded = await this.encodeIds(new Tensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length]), options)
    this.decoder = this.begin(this.encoded)
  }

  get bytes(): number {
    const kept = [...this.encoded.values()].map(({ data }) => (data as Float32Array).byteLength)
    return kept.reduce((sum, bytes) => sum + bytes, this.decoder?.bytes ?? 0)
  }

  extend(ids: readonly number[], options: PassOptions): Promise<void> {
    return this.decoder!.extend(ids, options)
  }

  pass(ids: readonly number[], options: PassOptions): Promise<Float32Array> {
    return this.decoder!.pass(ids, options)
  }

  free(): void {
    this.encoded = new Map()
    this.decoder?.free()
  }
}
