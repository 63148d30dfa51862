import { availableParallelism } from 'node:os'
import { Piscina } from 'piscina'
import { AssetError, throwIfAborted } from '../core/errors.js'
import { LEAF } from '../core/limits.js'
import { fileDag } from './dag.js'
import { batchPieces, type Piece, type PlannedFile } from './pieces.js'
import { type AssetFile, type FileSums, joinSums } from './sums.js'
import type { PieceResult } from './write-worker.js'

const BATCH = 32 * LEAF

/** A file that was written, with all that is known of its bytes. */
export interface WrittenFile extends AssetFile {
  readonly sums: FileSums
}

/** How far a long call is; `done` and `total` are bytes. */
export interface Progress {
  readonly phase: 'write' | 'verify' | 'read' | 'load'
  readonly done: number
  readonly total: number
}

/** Options of every long call. */
export interface LongCall {
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: Progress) => void) | undefined
}

/**
 * Writes and hashes files on all cores, each byte read once; memory is a few buffers per thread, whatever the sizes.
 * `targetOf` gives the path on disk, whose folder must exist. Files are synced to disk when this resolves.
 * @throws AssetError 'CORRUPT' where a source changed under it, 'IO', 'ABORTED'; what was written so far stays for the caller to remove.
 */
export async function writeFiles(files: readonly PlannedFile[], targetOf: (path: string) => string, options: LongCall = {}): Promise<WrittenFile[]> {
  const total = files.reduce((sum, file) => sum + file.size, 0)
  const batches = batchPieces(files, targetOf, BATCH)
  const threads = Math.min(availableParallelism(), batches.length)
  const pool = new Piscina({
    filename: new URL('./write-worker.js', import.meta.url).href,
    minThreads: threads,
    maxThreads: threads,
    resourceLimits: { maxOldGenerationSizeMb: 64 },
  })
  const runs: Map<number, FileSums>[] = files.map(() => new Map())
  let done = 0
  try {
    let next = 0
    // One lane per thread, each asking for the next batch: no queue of batches, so no memory for one.
    const lane = async () => {
      while (next < batches.length) {
        throwIfAborted(options.signal, 'write the asset')
        const batch = batches[next++] as Piece[]
        for (const result of (await pool.run(batch, { name: 'writePieces' })) as PieceResult[]) {
          if ('error' in result) throw new AssetError(result.error.code, result.error.message)
          runs[result.file]!.set(result.at, result.sums)
          done += result.sums.size
        }
        options.onProgress?.({ phase: 'write', done, total })
      }
    }
    const lanes = await Promise.allSettled(Array.from({ length: threads }, lane))
    for (const outcome of lanes) if (outcome.status === 'rejected') throw outcome.reason
  } finally {
    await pool.destroy()
  }
  return Promise.all(
    files.map(async ({ path, size }, index) => {
      const sums = joinSums([...runs[index]!].sort(([a], [b]) => a - b).map(([, run]) => run))
      return { path, size, sums, cid: (await fileDag(sums)).cid }
    }),
  )
}
