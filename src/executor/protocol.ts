import type { ErrorCode } from '../core/errors.js'
import type { Generated, GenerateOptions, Prompt } from './generate.js'
import type { PlainTensor } from './tensors.js'

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

/** Counters of a loaded model; bytes and milliseconds, since it was loaded unless it says otherwise. */
export interface ModelStats {
  /** weight bytes that the budget allows, that are pinned, and that stream once in every pass */
  readonly budgetBytes: number
  readonly pinnedBytes: number
  readonly streamedBytesPerPass: number
  /** weight bytes in memory now, and the most at any time; never above the budget */
  readonly residentBytes: number
  readonly peakResidentBytes: number
  /** bytes of key-value caches of generations under way */
  readonly stateBytes: number
  /** tensor bytes read, and the bytes of the pages that hold them */
  readonly bytesRead: number
  readonly diskBytes: number
  /** leases of weights that were in memory, that had to wait, and how long */
  readonly hits: number
  readonly waits: number
  readonly waitMs: number
  readonly computeMs: number
  readonly passes: number
  /** tokens generated */
  readonly tokens: number
}

/** What the calling thread may ask the worker; each call carries the id of its answer. */
export interface Calls {
  load(args: { cidOrPath: string; store: string | undefined; memory: number | 'auto' }): { model: number; facts: ModelFacts }
  run(args: { model: number; feeds: [string, PlainTensor][] }): [string, PlainTensor][]
  startGenerate(args: { model: number; prompt: Prompt; options: GenerateOptions }): number
  nextGenerated(args: { stream: number }): Generated | undefined
  endGenerate(args: { stream: number }): void
  embed(args: { model: number; texts: readonly string[] }): Float32Array[]
  stats(args: { model: number }): ModelStats
  resident(args: { model: number }): string[]
  close(args: { model: number }): void
}

export type CallName = keyof Calls

/** A message to the worker: a call, or the wish to abort one. */
export type Request = { readonly id: number; readonly call: CallName; readonly args: unknown } | { readonly abort: number }

/** A message from the worker: an answer, or progress on the way to it. */
export type Reply =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: { readonly code: ErrorCode; readonly message: string } }
  | { readonly id: number; readonly progress: { readonly done: number; readonly total: number } }
