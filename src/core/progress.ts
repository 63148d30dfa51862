/** How far a long call is; `done` and `total` are bytes, while loading segments that are made ready. */
export interface Progress {
  readonly phase: 'write' | 'verify' | 'load' | 'fetch'
  readonly done: number
  readonly total: number
}

/** Options of every long call. */
export interface LongCall {
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: Progress) => void) | undefined
}
