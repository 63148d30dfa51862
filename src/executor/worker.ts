import { parentPort } from 'node:worker_threads'
import { AssetError, type ErrorCode } from '../core/errors.js'
import { Host } from './host.js'
import type { PlainTensor } from './plain-tensor.js'
import type { Reply, Request } from './protocol.js'

// The thread that runs all models of the process: the calling thread never waits for compute or disk.
const host = new Host()
const port = parentPort!
const underWay = new Map<number, AbortController>()
const answers = new Set<Promise<void>>()

async function answer(id: number, call: keyof Host['calls'], args: unknown): Promise<void> {
  const controller = new AbortController()
  underWay.set(id, controller)
  const reply = (message: Reply, moved: ArrayBuffer[] = []) => port.postMessage(message, moved)
  try {
    const onProgress = (done: number, total: number) => reply({ id, progress: { done, total } })
    const perform = host.calls[call] as (args: unknown, context: { signal: AbortSignal; onProgress: typeof onProgress }) => Promise<unknown>
    const value = await perform(args, { signal: controller.signal, onProgress })
    reply({ id, value }, call === 'run' || call === 'embed' ? buffersOf(value) : [])
  } catch (error) {
    reply({ id, error: described(error) })
  } finally {
    underWay.delete(id)
  }
}

port.on('message', (request: Request) => {
  if ('abort' in request) underWay.get(request.abort)?.abort()
  else if ('end' in request) void end()
  else {
    const answered = answer(request.id, request.call, request.args).finally(() => answers.delete(answered))
    answers.add(answered)
  }
})

async function end(): Promise<void> {
  for (const controller of underWay.values()) controller.abort()
  await Promise.allSettled(answers)
  process.exit()
}

/** The buffers of what is given out for good: moved to the calling thread, which then need not copy them. */
function buffersOf(value: unknown): ArrayBuffer[] {
  const arrays: unknown[] = (value as unknown[]).map((one) => (Array.isArray(one) ? (one[1] as PlainTensor).data : one))
  const whole = arrays.filter(
    (array) => ArrayBuffer.isView(array) && array.byteLength === array.buffer.byteLength,
  ) as Uint8Array<ArrayBuffer>[]
  return [...new Set(whole.map(({ buffer }) => buffer))]
}

function described(error: unknown): { code: ErrorCode; message: string; cause?: string | undefined } {
  const message = error instanceof Error ? error.message : String(error)
  if (!(error instanceof AssetError)) return { code: 'ENGINE', message: `Cannot finish: ${message}; this is a fault of module-assets` }
  return { code: error.code, message, cause: error.cause instanceof Error ? error.cause.message : undefined }
}
