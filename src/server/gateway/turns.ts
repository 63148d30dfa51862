import type { Socket } from 'node:net'
import { ClientGone } from './deliver.js'

interface Queue {
  last: Promise<unknown>
  waiting: number
}

/**
 * Requests of one connection, one after the other: HTTP answers them in order anyway, and those that are sent before anything
 * is read would hold places for replies that nobody takes.
 */
export class Turns {
  readonly #queues = new WeakMap<Socket, Queue>()

  constructor(private readonly most: number) {}

  /** Runs a task when those before it on this connection have ended. @throws ClientGone where there are too many, which cuts it */
  async run<T>(socket: Socket, task: () => Promise<T>): Promise<T> {
    const queue = this.#queues.get(socket) ?? { last: Promise.resolve(), waiting: 0 }
    this.#queues.set(socket, queue)
    if (queue.waiting >= this.most) {
      socket.destroy()
      throw new ClientGone()
    }
    queue.waiting += 1
    const turn = queue.last.then(task)
    queue.last = turn.catch(() => undefined)
    try {
      return await turn
    } finally {
      queue.waiting -= 1
    }
  }
}
