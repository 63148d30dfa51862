/** Bytes of a file of an asset. */
export interface FileRange {
  /** its path in the asset */
  readonly path: string
  readonly offset: number
  readonly length: number
}

/** A leaf of a file, which is known by its CID. */
export interface LeafOf {
  readonly file: string
  readonly leaf: number
}

/** Whoever reads files while they arrive; files are known by their CIDs. */
export interface ArrivalReader {
  /** a file has a place: its full size, where leaves will be that are missing */
  begun(file: string, place: string): void
  /** a leaf can be read there; `pages` are the CRC-32 of its pages */
  arrived(file: string, leaf: number, pages: Uint32Array): void
  /** all of it is there, and where it belongs */
  finished(file: string): void
  /** nothing more arrives until {@link Arriving.beginPass} */
  failed(error: Error): void
  resumed(): void
  /** what it began to wait for since it was asked before; to be fetched next */
  wanted(): readonly LeafOf[]
}

/** The files of an asset that are not all there yet, as somebody fetches them. */
export interface Arriving {
  /** true for a file that was not there when the asset was opened */
  isComing(file: string): boolean
  /** Tells a reader of all that happens, and of what has happened. */
  listen(reader: ArrivalReader): void
  /** Fetches in this order what nobody waits for; what is not in it comes a moment after the first pass has ended. */
  follow(order: readonly FileRange[]): void
  /** A pass begins. Where fetching failed, it is tried again. */
  beginPass(): void
  endPass(isDone: boolean): void
  /** why nothing arrives any more, if so */
  readonly failure: Error | undefined
  /** bytes of leaves that came from sources, and bytes that the files still lack */
  readonly fetched: number
  readonly missing: number
  readonly total: number
  /** Lets go of all reads that wait in this thread, with this error; whoever waits for {@link complete} goes on. */
  giveUp(error: Error): void
  /** Resolves when all of the asset is in the store, listed among those that are complete. @throws AssetError why it does not arrive */
  complete(options?: {
    readonly signal?: AbortSignal | undefined
    readonly onProgress?: (done: number, total: number) => void
  }): Promise<void>
  /** Fetches nothing more; what has arrived is kept. */
  stop(): void
}
