import { equal } from 'node:assert/strict'
import { setImmediate } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { test } from 'vitest'
import { answerQuestion } from '../../src/asset/elsewhere.js'
import { mount } from '../../src/sources/mounts.js'

test('a thread gets the answer to each of its questions, also where the notice of the answer before comes late', async () => {
  const count = 500
  const fill = async (target: Uint8Array, position: number) => {
    for (let i = 0; i < target.byteLength; i++) target[i] = (position + i) % 251
  }
  const read = async (target: Uint8Array, at: number, length: number, position: number) => {
    await fill(target.subarray(at, at + length), position)
    return { bytesRead: length }
  }
  const { path, unmount } = mount('asked', new Map([['file', { size: count, read, fill }]]))
  const threads = [0, 1].map(
    () => new Worker(new URL('./asking-thread.js', import.meta.url), { workerData: { path: `${path}/file`, count } }),
  )
  try {
    const rights = threads.map(
      (thread) =>
        new Promise<number>((resolve, reject) => {
          thread.on('message', async (message) => {
            if ('right' in message) return resolve(message.right)
            while (Atomics.notify(new Int32Array(message.shared, 0, 2), 0) === 0) await setImmediate()
            await setImmediate()
            await answerQuestion(message)
          })
          thread.on('error', reject)
        }),
    )
    equal(Math.min(...(await Promise.all(rights))), count)
  } finally {
    unmount()
    for (const thread of threads) await thread.terminate()
  }
})
