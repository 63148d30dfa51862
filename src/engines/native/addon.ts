import { createRequire } from 'node:module'
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
}

/** A model opened by the addon. */
export interface OpenedModel {
  /** prompts are rounded: that was asked for, and changes anything with these weights on this machine */
  readonly fast: boolean
  session(): NativeSession
  run(inputs: readonly NamedTensor[], sessions: readonly NativeSession[], logits: Logits, abort: NativeAbort): Promise<NamedTensor[]>
  stats(): NativeStats
  close(): void
}

/** Threads and an instruction set. */
export interface NativeMachine {
  open(plan: string, sums: Uint32Array, abort: NativeAbort): Promise<OpenedModel>
}

/** What the addon exports. */
export interface Addon {
  readonly Abort: new () => NativeAbort
  readonly NativeMachine: new (threads: number, instructionSet?: string) => NativeMachine
  instructionSets(): string[]
}

const require = createRequire(import.meta.url)
// Built beside the sources, or a package that was built for this platform.
const PLACES = ['../../../../native/masset.node', `module-assets-native-${process.platform}-${process.arch}`]

let found: Addon | Error | undefined

/** The addon, or why there is none. */
export function findAddon(): Addon | Error {
  if (found) return found
  const reasons: string[] = []
  for (const place of PLACES) {
    try {
      found = require(place) as Addon
      return found
    } catch (error) {
      const missing = (error as { code?: string }).code === 'MODULE_NOT_FOUND'
      reasons.push(`${place}: ${missing ? 'not there' : error instanceof Error ? error.message.split('\n')[0] : error}`)
    }
  }
  found = new Error(reasons.join('; '))
  return found
}

/** Gives an error of the addon back its code. */
export function nativeError(error: unknown, reword: (message: string) => string = (message) => message): AssetError {
  if (error instanceof AssetError) return error
  const text = error instanceof Error ? error.message : String(error)
  const match = /^\[([A-Z_]+)\] (.*)$/s.exec(text)
  return new AssetError((match?.[1] as ErrorCode) ?? 'ENGINE', reword(match?.[2] ?? `Cannot run the model: ${text}`), { cause: error })
}
