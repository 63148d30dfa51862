import { writeSync } from 'node:fs'
import { getEnvironmentData, isMainThread, setEnvironmentData } from 'node:worker_threads'

/** What a call does to the disk, as far as faults and logs tell calls apart. */
export const KINDS = ['open', 'write', 'fsync', 'rename', 'mkdir', 'remove'] as const
export type Kind = (typeof KINDS)[number]

const DEEDS = ['ENOSPC', 'EIO', 'EMFILE', 'SIGKILL', 'SIGINT', 'SIGSTOP'] as const
const TEXTS = { ENOSPC: 'no space left on device', EIO: 'i/o error', EMFILE: 'too many open files' }

/** What is to happen at which call. */
export interface Fault {
  /** only calls of these kinds are counted */
  readonly kinds: readonly Kind[]
  /** the first call is 1 */
  readonly at: number
  /** an error that the call fails with, or a signal that the process gets just before it; "stopped" is printed before it is stopped */
  readonly deed: (typeof DEEDS)[number]
  /** all later calls of these kinds fail as well */
  readonly lasting?: boolean
}

// One block of memory for all threads of the process: a call is counted once, whichever thread makes it.
const KEY = 'module-assets:faults'
const [ARMED, MASK, AT, DEED, LASTING, CALLS, STRUCK] = [0, 1, 2, 3, 4, 5, 6]
let shared = getEnvironmentData(KEY) as Int32Array | undefined
if (!shared) {
  shared = new Int32Array(new SharedArrayBuffer(4 * 8))
  setEnvironmentData(KEY, shared)
}
const state = shared

/** From now on calls are counted, and the fault happens. */
export function arm({ kinds, at, deed, lasting = false }: Fault): void {
  const mask = kinds.reduce((bits, kind) => bits | (1 << KINDS.indexOf(kind)), 0)
  for (const [slot, value] of [
    [MASK, mask],
    [AT, at],
    [DEED, DEEDS.indexOf(deed)],
    [LASTING, Number(lasting)],
    [CALLS, 0],
    [STRUCK, 0],
    [ARMED, 1],
  ] as const)
    Atomics.store(state, slot!, value)
}

/** Ends it; tells how many calls there were, and how many the fault hit. */
export function disarm(): { calls: number; struck: number } {
  Atomics.store(state, ARMED!, 0)
  return { calls: Atomics.load(state, CALLS!), struck: Atomics.load(state, STRUCK!) }
}

/** To be asked before each call: the error that it must fail with instead, if any. */
export function faultAt(kind: Kind, path: string): Error | undefined {
  if (Atomics.load(state, ARMED!) === 0 || (state[MASK!]! & (1 << KINDS.indexOf(kind))) === 0) return undefined
  const call = Atomics.add(state, CALLS!, 1) + 1
  if (call < state[AT!]! || (call > state[AT!]! && state[LASTING!] === 0)) return undefined
  Atomics.add(state, STRUCK!, 1)
  const deed = DEEDS[state[DEED!]!]!
  if (deed === 'SIGSTOP') {
    writeSync(1, 'stopped\n')
    process.kill(process.pid, deed)
    sleep(50)
    return undefined
  }
  if (deed === 'SIGKILL' || deed === 'SIGINT') {
    process.kill(process.pid, deed)
    // Killed, the call must not happen any more; interrupted in another thread, the main one gets the time to hear of it.
    if (deed === 'SIGKILL') sleep(Number.POSITIVE_INFINITY)
    else if (!isMainThread) sleep(200)
    return undefined
  }
  return Object.assign(new Error(`${deed}: ${TEXTS[deed]}, ${kind} '${path}'`), { code: deed, syscall: kind, path })
}

function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}
