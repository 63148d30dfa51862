import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { AssetError, throwIfAborted } from '../core/errors.js'
import { inLanes } from '../core/lanes.js'
import { LEAF } from '../core/limits.js'
import type { LongCall } from '../core/progress.js'
import { fileDag } from './dag.js'
import { answerQuestion } from './elsewhere.js'
import type { ExpectedFile, PieceSums, TaskFailure, WriteFailure } from './file-worker.js'
import type { Journal } from './journal.js'
import { batchPieces, isRemote, type Piece, type PlannedFile } from './pieces.js'
import { type AssetFile, type FileSums, type HashedFile, joinSums } from './sums.js'

const BATCH = 32 * LEAF
// What is fetched is noted more often: it is all that another run need not fetch again.
const REMOTE_BATCH = 8 * LEAF
// One computes, the others wait for the disk.
const TASKS_PER_THREAD = 3
// Those mostly wait for the network.
const REMOTE_THREADS = 4

/** Runs one task per input on all cores, a few more at a time than there are threads, so that nothing piles up in memory. What `onDone` throws stops the rest. */
async function runTasks<In, Out>(
  name: string,
  inputs: readonly In[],
  onDone: (output: Out, input: In) => void | Promise<void>,
  { signal, leastThreads = 1 }: { readonly signal?: AbortSignal | undefined; readonly leastThreads?: number } = {},
): Promise<void> {
  const threads = Math.min(Math.max(availableParallelism(), leastThreads), inputs.length)
  if (threads === 0) return
  const { Piscina } = await import('piscina')
  const pool = new Piscina({
    filename: new URL('./file-worker.js', import.meta.url).href,
    minThreads: threads,
    maxThreads: threads,
    concurrentTasksPerWorker: TASKS_PER_THREAD,
  })
  pool.on('message', answerQuestion)
  const check = () => throwIfAborted(signal, 'write or verify the asset')
  try {
    await inLanes(inputs, threads * TASKS_PER_THREAD, async (input) => {
      check()
      await onDone(await pool.run(input, { name }), input)
    })
    // A small asset is one task: what came while it ran was not heard of yet.
    check()
  } finally {
    await pool.destroy()
  }
}

/**
 * Writes and hashes files on all cores, each byte read once; memory is a few buffers per thread, whatever the sizes.
 * `targetOf` gives the path on disk, whose folder must exist; a file without one is only hashed. Files are synced to disk when this resolves. With a journal,
 * what an earlier run has written of the same files stays, and what this one writes is noted.
 * @throws AssetError 'CORRUPT' where a source changed under it, 'IO', 'ABORTED'; what was written so far is the caller's to remove.
 */
export async function writeFiles(
  files: readonly PlannedFile[],
  targetOf: (path: string) => string | undefined,
  options: LongCall & { readonly journal?: Journal | undefined } = {},
): Promise<HashedFile[]> {
  const { signal, journal } = options
  const total = files.reduce((sum, file) => sum + file.size, 0)
  const runs: Map<number, FileSums>[] = files.map(() => new Map())
  let done = 0
  const take = (pieces: readonly PieceSums[]) => {
    for (const { file, at, sums } of pieces) {
      runs[file]!.set(at, sums)
      done += sums.size
    }
    options.onProgress?.({ phase: 'write', done, total })
  }
  const remote = files.some(isRemote)
  let batches = batchPieces(files, targetOf, remote ? REMOTE_BATCH : BATCH)
  if (journal) {
    const noted = batches.flat().filter(({ file, at, size }) => journal.has({ path: files[file]!.path, at, size }))
    const isThere = new Set<Piece>()
    const check = (sums: FileSums | TaskFailure, piece: Piece) => {
      if ('error' in sums || !journal.isRight(files[piece.file]!.path, piece.at, sums)) return
      isThere.add(piece)
      take([{ file: piece.file, at: piece.at, sums }])
    }
    await runTasks('sumPiece', noted, check, { signal })
    batches = batches.map((batch) => batch.filter((piece) => !isThere.has(piece))).filter((batch) => batch.length > 0)
  }
  const onDone = async (result: PieceSums[] | WriteFailure) => {
    const pieces = 'error' in result ? result.written : result
    await journal?.add(pieces.map(({ file, at, sums }) => ({ path: files[file]!.path, at, sums })))
    if ('error' in result) throw new AssetError(result.error.code, result.error.message)
    take(pieces)
  }
  await runTasks('writePieces', batches, onDone, { signal, leastThreads: remote ? REMOTE_THREADS : 1 })
  return Promise.all(
    files.map(async ({ path, size }, index) => {
      const sums = joinSums([...runs[index]!].sort(([a], [b]) => a - b).map(([, run]) => run))
      return { path, size, sums, cid: (await fileDag(sums)).cid }
    }),
  )
}

/**
 * Sums up files as they are on disk, on all cores; one that can't be read, or has another size than expected, gives its
 * error, the others go on.
 * @throws AssetError 'ABORTED'
 */
export async function sumFiles(files: readonly ExpectedFile[], options: LongCall = {}): Promise<(FileSums | AssetError)[]> {
  const sums = new Map<ExpectedFile, FileSums | AssetError>()
  const total = files.reduce((sum, { size }) => sum + size, 0)
  let done = 0
  const onDone = (result: FileSums | TaskFailure, file: ExpectedFile) => {
    sums.set(file, 'error' in result ? new AssetError(result.error.code, result.error.message) : result)
    done += file.size
    options.onProgress?.({ phase: 'verify', done, total })
  }
  await runTasks('sumFile', files, onDone, options)
  return files.map((file) => sums.get(file)!)
}

/**
 * Hashes files of a folder as they are on disk, on all cores; each must still have the size given.
 * @throws AssetError 'CORRUPT' where one changes meanwhile, 'NOT_FOUND' | 'IO' where one can't be read, 'ABORTED'
 */
export async function hashFiles(
  folder: string,
  files: readonly Pick<AssetFile, 'path' | 'size'>[],
  options: LongCall = {},
): Promise<HashedFile[]> {
  const placeOf = (path: string) => join(folder, path)
  const found = await sumFiles(
    files.map(({ path, size }) => ({ path: placeOf(path), what: placeOf(path), size })),
    options,
  )
  const hashed: HashedFile[] = []
  for (const [index, { path, size }] of files.entries()) {
    const sums = found[index]!
    if (sums instanceof AssetError) throw sums.code === 'CORRUPT' ? changed(placeOf(path), sums) : sums
    hashed.push({ path, size, sums, cid: (await fileDag(sums)).cid })
  }
  return hashed
}

function changed(what: string, cause: AssetError): AssetError {
  const message = `Cannot hash ${what}: it changed while it was read; let whatever writes it finish and try again`
  return new AssetError('CORRUPT', message, { cause })
}
