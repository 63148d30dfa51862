import type { EngineChoice } from '../engines/native/choose.js'
import type { Exactness } from '../engines/native/exactness.js'

/** How a model is loaded. */
export interface LoadSettings extends Exactness {
  /** bytes of weights; 'auto' takes three fifths of the free memory, all weights at most */
  readonly memory: number | 'auto'
  readonly engine: EngineChoice
  /** threads that compute natively; as many as the processor has when left out */
  readonly threads?: number | undefined
  /** which instructions the native engine uses; the best that the processor has when left out */
  readonly instructionSet?: string | undefined
  readonly onProgress?: (done: number, total: number) => void
  readonly signal?: AbortSignal | undefined
}
