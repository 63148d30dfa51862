import type { ErrorCode } from '../core/errors.js'
import type { TraceEvents } from '../core/trace.js'
import type { KvCache, Precision } from '../engines/native/exactness.js'
import type { WeightCounters } from './counters.js'
import type { Generated, GenerateOptions, Prompt } from './generate.js'
import type { PlainTensor } from './plain-tensor.js'
import type { LoadSettings } from './settings.js'

/** An input or output of a graph; a dimension is a size or the name of one. */
export interface GraphValue {
  readonly name: string
  readonly type: string
  readonly dims: readonly (number | string)[]
}

/** What is known of a model once it is loaded. */
export interface ModelFacts {
  readonly cid: string
  readonly config: Readonly<Record<string, unknown>>
  readonly inputs: readonly GraphValue[]
  readonly outputs: readonly GraphValue[]
}

/** Counters of a loaded model; bytes and milliseconds. */
export interface ModelStats extends WeightCounters {
  /** what computes it: one engine, or both ('mixed') */
  readonly engine: 'native' | 'onnx' | 'mixed'
  /** how prompts are computed: 'fast' only where that was asked for and rounds anything, with these weights on this processor */
  readonly precision: Precision
  /** how keys and values are kept */
  readonly kvCache: KvCache
  /** bytes of key-value caches of generations under way */
  readonly stateBytes: number
  /** estimated bytes of memory that the tokenizer takes, out of the same budget; 0 for one that is small or was not loaded */
  readonly tokenizerBytes: number
  /** tokens generated */
  readonly tokens: number
  /** bytes of the asset's files that came from sources, and that are still to come; 0 for one that was there */
  readonly fetchedBytes: number
  readonly missingBytes: number
}

/** What the calling thread may ask the worker; each call carries the id of its answer. */
export interface Calls {
  load(
    args: { cidOrPath: string; store: string | undefined; sources: readonly string[] | undefined; tokenizer: boolean } & Omit<
      LoadSettings,
      'onProgress' | 'signal' | 'tokenizerBytes'
    >,
  ): {
    model: number
    facts: ModelFacts
  }
  run(args: { model: number; feeds: [string, PlainTensor][] }): [string, PlainTensor][]
  startGenerate(args: { model: number; prompt: Prompt; options: GenerateOptions }): number
  nextGenerated(args: { stream: number }): Generated | undefined
  endGenerate(args: { stream: number }): void
  embed(args: { model: number; texts: readonly string[] }): Float32Array[]
  stats(args: { model: number }): ModelStats
  arrived(args: { model: number }): void
  trace(args: { model: number }): TraceEvents
  resident(args: { model: number }): string[]
  close(args: { model: number }): void
}

export type CallName = keyof Calls

/** A message to the worker: a call, the wish to abort one, or to abort all and end. */
export type Request =
  | { readonly id: number; readonly call: CallName; readonly args: unknown }
  | { readonly abort: number }
  | { readonly end: true }

/** A message from the worker: an answer, or progress on the way to it. */
export type Reply =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: { readonly code: ErrorCode; readonly message: string; readonly cause?: string | undefined } }
  | { readonly id: number; readonly progress: { readonly done: number; readonly total: number } }
