import type { ServerResponse } from 'node:http'
import { giveBack } from '../../core/buffers.js'

// Whoever takes longer for a block than this (8 kB/s) holds up others.
const PATIENCE_MS = 120_000

/** The client does not take what it asked for: nothing is wrong here. */
export class ClientGone extends Error {}

/**
 * Sends chunks no faster than they are taken; the next is made meanwhile, so that two of them wait in memory at most. Those that
 * were lent are given back.
 * @throws ClientGone, also where it is too slow
 */
export async function deliver(reply: ServerResponse, chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void> {
  const iterator = Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]()
  let coming: Promise<IteratorResult<Uint8Array>> | undefined
  try {
    for (let { done, value } = await iterator.next(); !done; { done, value } = await coming) {
      const isTaken = write(reply, value)
      coming = Promise.resolve(iterator.next())
      await isTaken
    }
    await until(reply, (done) => reply.end(done))
  } finally {
    // What was begun is ended before what it reads from is let go of.
    await coming?.catch(() => undefined)
    await iterator.return?.()
  }
}

/** Resolves at once where there is room, else when the chunk was taken. */
function write(reply: ServerResponse, chunk: Uint8Array): Promise<void> {
  const isTaken = until(reply, (done) => {
    const hasRoom = reply.write(chunk, (error) => {
      // Until the system has taken it, it may still be read.
      if (!error) giveBack(chunk)
      done(error)
    })
    if (hasRoom) done()
  })
  // Whoever waits for it looks at it later.
  isTaken.catch(() => undefined)
  return isTaken
}

function until(reply: ServerResponse, send: (done: (error?: Error | null) => void) => void): Promise<void> {
  // A reply that waits for others on its connection does not hear of its end.
  const { socket } = reply.req
  return new Promise((resolve, reject) => {
    const settle = (error?: Error | null) => {
      clearTimeout(timer)
      socket.removeListener('close', onClose)
      if (error) reject(new ClientGone(error.message, { cause: error }))
      else resolve()
    }
    const onClose = () => settle(new ClientGone())
    const timer = setTimeout(() => settle(new ClientGone()), PATIENCE_MS)
    if (socket.destroyed) {
      onClose()
      return
    }
    socket.once('close', onClose)
    send(settle)
  })
}
