// A thread that reads a byte at each position of a file that is elsewhere, one question for each, and says how many were right.
import { parentPort, workerData } from 'node:worker_threads'
import { readElsewhere } from '../../src/asset/elsewhere.js'

const { path, count } = workerData as { path: string; count: number }
const byte = new Uint8Array(1)
let right = 0
for (let at = 0; at < count; at++) {
  readElsewhere(path, byte, at, at + 1)
  if (byte[0] === at % 251) right += 1
}
parentPort!.postMessage({ right })
