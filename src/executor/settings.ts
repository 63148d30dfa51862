import type { EngineChoice } from '../engines/choice.js'
import type { Exactness } from '../engines/native/exactness.js'

/** How a model is loaded. */
export interface LoadSettings extends Exactness {
  /** bytes of weights; 'auto' takes three fifths of the free memory, all weights at most */
  readonly memory: number | 'auto'
  readonly engine: EngineChoice
  /** bytes of the memory that the model's tokenizer takes */
  readonly tokenizerBytes?: number | undefined
  /** weights lie in mapped files instead of within a budget */
  readonly map?: boolean | undefined
  /** threads that compute natively; as many as the processor has cores when left out */
  readonly threads?: number | undefined
  /** which instructions the native engine uses; the best that the processor has when left out */
  readonly instructionSet?: string | undefined
  /** record reads, waits and computing */
  readonly trace?: boolean | undefined
  readonly onProgress?: (done: number, total: number) => void
  readonly signal?: AbortSignal | undefined
}
