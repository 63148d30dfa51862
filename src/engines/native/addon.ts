import { AssetError, type ErrorCode } from '../../core/errors.js'
import type { Logits } from '../engine.js'

/** A tensor on its way to or from the addon; exactly one of the lists is there. */
export interface NamedTensor {
  readonly name: string
  readonly dims: readonly number[]
  readonly f32?: Float32Array
  readonly i64?: BigInt64Array
  readonly bool?: Uint8Array
}

/** A wish to stop. */
export interface NativeAbort {
  fire(): void
}

/** The caches of one sequence. */
export interface NativeSession {
  readonly bytes: number
  readonly length: number
  /** forgets what came after the first `length` positions */
  truncate(length: number): void
  free(): void
}

/** Counters of an opened model; bytes and milliseconds. */
export interface NativeStats {
  /** tensor bytes that passes took from streamed tiles, and those of single rows and of pinned tiles */
  readonly bytesRead: number
  /** bytes of the pages read for all of them, read ahead too */
  readonly diskBytes: number
  readonly hits: number
  readonly waits: number
  readonly waitedMs: number
  readonly diskIdleMs: number
  /** of cached matrices: bytes that passes used, those that were read for it, and those in memory now */
  readonly expertBytes: number
  readonly expertBytesRead: number
  readonly cachedBytes: number
}

/** Columns of what was recorded, on the clock of `clockMs`. */
export interface NativeEvents {
  /** 0 a read, 1 a wait for one, 2 computing, 3 a run of a segment */
  readonly lanes: Uint8Array
  /** the file, the node (counted over all segments) or the segment */
  readonly what: Uint32Array
  readonly beganMs: Float64Array
  readonly tookMs: Float64Array
  readonly bytes: Float64Array
  readonly leftOut: number
}

/** A model opened by the addon; its segments run in their order, over and over. */
export interface OpenedModel {
  /** prompts are rounded: that was asked for, and changes anything with these weights on this machine */
  readonly fast: boolean
  session(): NativeSession
  /** the first output of floats that is as long as `into` is written there */
  run(
    segment: number,
    inputs: readonly NamedTensor[],
    sessions: readonly NativeSession[],
    logits: Logits,
    abort: NativeAbort,
    into?: Float32Array,
  ): Promise<NamedTensor[]>
  /** whether a cached matrix is in memory, by its number in the program */
  hasCached(weight: number): boolean
  stats(): NativeStats
  takeEvents(): NativeEvents
  close(): void
}

/** The files of a model that still arrive, counted as in its plan. */
export interface NativeArrivals {
  /** a file has a place, of its full size */
  begin(file: number, path: string): void
  /** a leaf is there, verified; `sums` are the checksums of its pages */
  arrive(file: number, leaf: number, sums: Uint32Array): void
  /** all of a file is there, and where the plan says */
  finish(file: number): void
  /** what somebody began to wait for since this was asked: file, leaf, file, leaf */
  takeWanted(): number[]
  /** whoever waits fails with this */
  fail(why: string): void
  resume(): void
}

/** Threads and an instruction set. */
export interface NativeMachine {
  /** with `map` what the plan pins lies in mapped files */
  open(plan: string, sums: Uint32Array, abort: NativeAbort, arrivals?: NativeArrivals): Promise<OpenedModel>
}

/** What the addon exports. */
export interface Addon {
  readonly Abort: new () => NativeAbort
  /** of each file its bytes where it arrives, and -1 where it is there */
  readonly Arrivals: new (
    sizes: readonly number[],
  ) => NativeArrivals
  readonly NativeMachine: new (threads: number, instructionSet?: string) => NativeMachine
  instructionSets(): string[]
  clockMs(): number
}

/** Gives an error of the addon back its code. */
export function nativeError(error: unknown, reword: (message: string) => string = (message) => message): AssetError {
  if (error instanceof AssetError) return error
  const text = error instanceof Error ? error.message : String(error)
  const match = /^\[([A-Z_]+)\] (.*)$/s.exec(text)
  return new AssetError((match?.[1] as ErrorCode) ?? 'ENGINE', reword(match?.[2] ?? `Cannot run the model: ${text}`), { cause: error })
}
