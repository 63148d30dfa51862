import type { ServerResponse } from 'node:http'

// Whoever takes longer for a block than this (8 kB/s) holds up others.
const PATIENCE_MS = 120_000

/** The client does not take what it asked for: nothing is wrong here. */
export class ClientGone extends Error {}

/**
 * Sends chunks, the next when the last was taken, so that no more than that waits in memory. Resolves when all were taken;
 * @throws ClientGone, also where it is too slow
 */
export async function deliver(reply: ServerResponse, chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void> {
  for await (const chunk of chunks) await taken(reply, (done) => reply.write(chunk, done))
  await taken(reply, (done) => reply.end(done))
}

function taken(reply: ServerResponse, send: (done: (error?: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (error?: Error | null) => {
      clearTimeout(timer)
      reply.removeListener('close', onClose)
      if (error) reject(new ClientGone(error.message, { cause: error }))
      else resolve()
    }
    const onClose = () => settle(new ClientGone())
    const timer = setTimeout(() => settle(new ClientGone()), PATIENCE_MS)
    if (reply.closed || reply.destroyed) {
      onClose()
      return
    }
    reply.once('close', onClose)
    send(settle)
  })
}
