import type { TraceEvents } from '../core/trace.js'
import type { Exactness } from '../engines/native/exactness.js'
import type { GraphIndex } from '../graph/cut.js'
import type { OpenAsset } from '../store/open-asset.js'
import type { WeightCounters } from './counters.js'
import type { Values } from './feeds.js'

/** How one pass runs. */
export interface PassOptions {
  readonly signal?: AbortSignal | undefined
}

/** What one generation keeps between its passes: keys and values of the tokens so far. */
export interface Session {
  /** bytes that it takes */
  readonly bytes: number
  /** only where the model has an encoder, and before anything else: what the encoder reads, while tokens of the decoder follow */
  encode?(ids: readonly number[], options: PassOptions): Promise<void>
  /** takes in `ids` after what was there before, when nobody needs their logits */
  extend(ids: readonly number[], options: PassOptions): Promise<void>
  /**
   * One pass over `ids` after what was there before; resolves to the logits (vocabulary) of the last position. They are for
   * use at once: the model's next pass may write over them.
   */
  pass(ids: readonly number[], options: PassOptions): Promise<Float32Array>
  free(): void
}

/** A model that can run within its budget, whatever computes it. */
export interface LoadedModel {
  readonly asset: OpenAsset
  readonly index: GraphIndex
  readonly engine: 'native' | 'onnx' | 'mixed'
  /** how it computes, whatever was asked for */
  readonly exactness: Exactness
  /** One forward pass: graph inputs by name in, graph outputs by name out. @throws AssetError 'BAD_INPUT' | 'CORRUPT' | 'ENGINE' | 'ABORTED' */
  forward(given: Values, options: PassOptions): Promise<Values>
  session(): Session
  /** True for a weight that is wholly in memory. */
  isResident(name: string): boolean
  counters(): WeightCounters
  /** What was recorded since it was asked for before; nothing unless it was loaded with `trace`. */
  takeTrace(): TraceEvents
  close(): Promise<void>
}
