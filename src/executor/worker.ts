import { parentPort } from 'node:worker_threads'
import { AssetError } from '../core/errors.js'
import { Host } from './host.js'
import type { Reply, Request } from './protocol.js'

// The thread that runs all models of the process: the calling thread never waits for compute or disk.
const host = new Host()
const port = parentPort!
const underWay = new Map<number, AbortController>()

async function answer(id: number, call: keyof Host['calls'], args: unknown): Promise<void> {
  const controller = new AbortController()
  underWay.set(id, controller)
  const reply = (message: Reply) => port.postMessage(message)
  try {
    const onProgress = (done: number, total: number) => reply({ id, progress: { done, total } })
    const perform = host.calls[call] as (args: unknown, context: { signal: AbortSignal; onProgress: typeof onProgress }) => Promise<unknown>
    reply({ id, value: await perform(args, { signal: controller.signal, onProgress }) })
  } catch (error) {
    const code = error instanceof AssetError ? error.code : 'ENGINE'
    reply({ id, error: { code, message: error instanceof Error ? error.message : String(error) } })
  } finally {
    underWay.delete(id)
  }
}

port.on('message', (request: Request) => {
  if ('abort' in request) underWay.get(request.abort)?.abort()
  else void answer(request.id, request.call, request.args)
})
