import { parentPort } from 'node:worker_threads'
import { AssetError, type ErrorCode, ioError } from '../core/errors.js'
import { mountedAt } from '../sources/mounts.js'

/** What a thread asks the main one, which has the mounts: bytes of a file that is elsewhere. It waits for the answer. */
interface Question {
  readonly path: string
  readonly position: number
  readonly length: number
  /** two 32-bit numbers, whether it is answered and the length of the answer, then the answer */
  readonly shared: SharedArrayBuffer
}

const [ASKED, GIVEN, FAILED] = [0, 1, 2] as const
const HEAD = 8
/** Bytes that are asked for at once, if so many are needed. */
const MOST = 8 * 1024 * 1024

// One for each thread, with what was asked for last.
const last = { path: '', position: 0, length: 0, shared: undefined as SharedArrayBuffer | undefined }

/**
 * Fills `target` with bytes of a file that is elsewhere, from `position` on; to be called in a thread of the pool. Those up to
 * `until` will be asked for next, so they come along.
 * @throws AssetError why they can't be had
 */
export function readElsewhere(path: string, target: Uint8Array, position: number, until: number): void {
  for (let done = 0; done < target.byteLength; ) {
    const at = position + done
    if (last.path !== path || at < last.position || at >= last.position + last.length)
      ask(path, at, Math.min(MOST, Math.max(until - at, target.byteLength - done)))
    const from = at - last.position
    const length = Math.min(target.byteLength - done, last.length - from)
    target.set(new Uint8Array(last.shared!, HEAD + from, length), done)
    done += length
  }
}

function ask(path: string, position: number, length: number): void {
  last.shared ??= new SharedArrayBuffer(HEAD + MOST)
  last.length = 0
  const { shared } = last
  const state = new Int32Array(shared, 0, 2)
  Atomics.store(state, 0, ASKED)
  parentPort!.postMessage({ path, position, length, shared } satisfies Question)
  // The notice of the answer before may come only now, and end a wait too early.
  while (Atomics.load(state, 0) === ASKED) Atomics.wait(state, 0, ASKED)
  if (Atomics.load(state, 0) === GIVEN) Object.assign(last, { path, position, length })
  else {
    const text = Buffer.from(new Uint8Array(shared, HEAD, state[1])).toString('utf8')
    const { code, message } = JSON.parse(text) as { code: ErrorCode; message: string }
    throw new AssetError(code, message)
  }
}

/** Answers what threads of the pool ask with {@link readElsewhere}; to be called in the thread that has the mounts. */
export async function answerQuestion({ path, position, length, shared }: Question): Promise<void> {
  const state = new Int32Array(shared, 0, 2)
  const into = new Uint8Array(shared, HEAD)
  let outcome: typeof GIVEN | typeof FAILED = GIVEN
  try {
    const file = mountedAt(path)
    if (typeof file !== 'object') throw new AssetError('CLOSED', `Cannot read ${path}: nobody has it open any more`)
    await file.fill(into.subarray(0, length), position)
    state[1] = length
  } catch (error) {
    const { code, message } = ioError(`read ${path}`, error)
    const text = Buffer.from(JSON.stringify({ code, message }))
    into.set(text)
    state[1] = text.byteLength
    outcome = FAILED
  }
  Atomics.store(state, 0, outcome)
  Atomics.notify(state, 0)
}
