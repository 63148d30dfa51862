import { SHARE_ENV, Worker } from 'node:worker_threads'
import { AssetError } from '../core/errors.js'
import type { CallName, Calls, Reply, Request } from './protocol.js'

/** What a call may carry besides its arguments. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((done: number, total: number) => void) | undefined
}

interface Pending {
  readonly resolve: (value: never) => void
  readonly reject: (error: Error) => void
  readonly onProgress?: ((done: number, total: number) => void) | undefined
}

// What is new in the worker's heap before it is looked through for the first time. The engine's default of 48 lets 8 MB more
// lie about; the values of a pass are outside of the heap.
const YOUNG_MB = 4
// Calls that are aborted take a step more at most; what takes longer is stuck.
const END_MS = 10_000

/** The calling thread's end of the worker: calls and answers. The worker keeps the process alive only while a call is under way. */
class Client {
  private readonly worker = new Worker(new URL('./worker.js', import.meta.url), {
    name: 'module-assets',
    execArgv: [],
    env: SHARE_ENV,
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
  })
  private readonly pending = new Map<number, Pending>()
  private lastId = 0
  /** why no call can be made any more */
  private gone: AssetError | undefined
  private readonly exited = new Promise<unknown>((resolve) => this.worker.once('exit', resolve))
  users = 0

  constructor(private readonly onGone: () => void) {
    this.worker.unref()
    this.worker.on('message', (reply: Reply) => this.receive(reply))
    this.worker.on('error', (cause) =>
      this.fail(
        new AssetError('ENGINE', `Cannot go on: the executor stopped: ${cause instanceof Error ? cause.message : cause}`, { cause }),
      ),
    )
    this.worker.on('exit', () => this.fail(new AssetError('CLOSED', 'Cannot go on: the executor has ended')))
  }

  call<Name extends CallName>(
    call: Name,
    args: Parameters<Calls[Name]>[0],
    { signal, onProgress }: CallOptions = {},
  ): Promise<ReturnType<Calls[Name]>> {
    if (this.gone) return Promise.reject(this.gone)
    if (signal?.aborted) return Promise.reject(aborted(signal))
    const id = ++this.lastId
    const post = (request: Request) => this.worker.postMessage(request)
    return new Promise<ReturnType<Calls[Name]>>((resolve, reject) => {
      // First, since it throws where an argument can't be passed between threads.
      post({ id, call, args })
      const onAbort = () => post({ abort: id })
      signal?.addEventListener('abort', onAbort, { once: true })
      const settled = () => signal?.removeEventListener('abort', onAbort)
      const onError = (error: Error) => {
        settled()
        reject(signal?.aborted ? aborted(signal) : error)
      }
      const onValue = (value: ReturnType<Calls[Name]>) => {
        settled()
        resolve(value)
      }
      this.pending.set(id, { resolve: onValue as Pending['resolve'], reject: onError, onProgress })
      this.worker.ref()
    })
  }

  /**
   * Ends the worker when nobody uses it any more. It ends itself, between two messages: a thread that is stopped from outside
   * within a call of ONNX Runtime takes the process with it.
   */
  async leave(): Promise<void> {
    this.users -= 1
    if (this.users > 0) return
    this.fail(new AssetError('CLOSED', 'Cannot use the model: it was closed'))
    this.worker.ref()
    this.worker.postMessage({ end: true } satisfies Request)
    const timer = setTimeout(() => void this.worker.terminate(), END_MS)
    await this.exited
    clearTimeout(timer)
  }

  private receive(reply: Reply): void {
    const pending = this.pending.get(reply.id)
    if (!pending) return
    if ('progress' in reply) {
      this.tell(reply.id, pending, reply.progress)
      return
    }
    this.settle(reply.id)
    if ('value' in reply) pending.resolve(reply.value as never)
    else pending.reject(new AssetError(reply.error.code, reply.error.message, { cause: reply.error.cause }))
  }

  /** A listener that throws ends its call, nothing else. */
  private tell(id: number, { onProgress, reject }: Pending, { done, total }: { done: number; total: number }): void {
    try {
      onProgress?.(done, total)
    } catch (error) {
      this.worker.postMessage({ abort: id } satisfies Request)
      this.settle(id)
      reject(error as Error)
    }
  }

  private settle(id: number): void {
    this.pending.delete(id)
    if (this.pending.size === 0) this.worker.unref()
  }

  private fail(error: AssetError): void {
    this.onGone()
    this.gone ??= error
    for (const pending of this.pending.values()) pending.reject(error)
    this.pending.clear()
  }
}

export type ExecutorClient = Client

let current: Client | undefined

/** The process's executor, started when it is first needed. Call `leave` when done with it. */
export function joinExecutor(): ExecutorClient {
  const client: Client =
    current ??
    new Client(() => {
      if (current === client) current = undefined
    })
  current = client
  client.users += 1
  return client
}

function aborted(signal: AbortSignal): AssetError {
  return new AssetError('ABORTED', 'Cannot finish: it was cancelled', { cause: signal.reason })
}
