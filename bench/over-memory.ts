// Decoding a model larger than the memory that its process may use (a cgroup of 90, 60 and 30 percent of the weights):
// time per token against reading the streamed bytes at the disk's own speed; beside it llama.cpp with its file mapped, under
// the same limit. Linux, root, the memory controller of cgroup v1.
import { execFileSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { startAsked } from './asked.js'
import { type Bounds, startBounds } from './bounds.js'
import { type Limited, limitTo } from './cgroup.js'
import type { Streamed } from './limited.js'
import { eachDtype, type Measured } from './llama-1b.js'
import { findLlamaCpp, type Installed, type LlamaCpp } from './llama-cpp.js'
import { type Round, report, round, summary } from './measure.js'

// A process may have so much beside its budget; what it takes itself is a little less.
const SETTINGS = { threads: 2, tokens: 4, peerTokens: 2, rounds: 5, besideBudgetMB: 100 }
const OWN = 100e6
const script = fileURLToPath(new URL('./limited.js', import.meta.url))

/** Under one limit: rounds of both, one after the other. */
async function underLimit(bounds: Bounds, measured: Measured, share: number, installed: Installed | undefined): Promise<object> {
  const { store, cid, weightBytes, files } = measured
  const limit = Math.floor(share * weightBytes)
  const budget = limit - SETTINGS.besideBudgetMB * 1e6
  await using group = limitTo(limit, 'ours')
  const [command, ...args] = [...group.command, process.execPath, script, store.path, cid, String(budget), String(SETTINGS.threads)]
  await using ours = startAsked(command!, args)
  const decode = async () => JSON.parse(await ours.ask(`decode ${SETTINGS.tokens}`)) as Streamed
  await decode()
  await using theirGroup = limitTo(limit, 'theirs')
  await using peer = await start(installed, theirGroup)
  const rounds: Round[] = []
  for (let at = 0; at < SETTINGS.rounds; at++) {
    const before = await disks(bounds, files)
    const { secondsPerToken, streamedBytesPerToken, readBytesPerToken, waitShare, diskBusy } = await decode()
    const after = await disks(bounds, files)
    const [seen, memory, unseen] = before.map((speed, at) => Math.max(speed, after[at]!)) as [number, number, number]
    const overReading = (speed: number) => secondsPerToken / (streamedBytesPerToken / 1e9 / speed)
    const theirs = await peer?.decode(SETTINGS.peerTokens)
    rounds.push({
      tokensPerSecond: 1 / secondsPerToken,
      streamedMB: streamedBytesPerToken / 1e6,
      readMB: readBytesPerToken / 1e6,
      rawDiskGBs: Math.max(seen, unseen),
      seenDiskGBs: seen,
      memoryDiskGBs: memory,
      timeOverReading: overReading(Math.max(seen, unseen)),
      timeOverReadingSeen: overReading(seen),
      timeOverReadingIntoMemory: overReading(memory),
      diskBusy,
      waiting: waitShare,
      ...(theirs && {
        llamaCppTokensPerSecond: 1 / theirs.secondsPerToken,
        llamaCppReadMB: theirs.readBytesPerToken / 1e6,
        overLlamaCpp: theirs.secondsPerToken / secondsPerToken,
      }),
    })
  }
  return {
    limitMB: round(limit / 1e6),
    budgetMB: round(budget / 1e6),
    mostStreamedMB: round((weightBytes - 0.9 * (limit - OWN)) / 1e6),
    anonymousOverBudgetMB: round((group.anonymousPeak() - budget) / 1e6),
    ...(installed && { llamaCpp: peer ? installed.version : `${installed.version}: killed` }),
    ...summary(rounds),
  }
}

/** GB/s of raw reads: of bytes that are then looked at, of those where caches are too small, of those that nobody looks at. */
async function disks(bounds: Bounds, files: readonly string[]): Promise<number[]> {
  return [await bounds.disk(files), await bounds.memoryDisk(files), await bounds.transfer(files)]
}

/** llama.cpp with its file mapped, all pages of it to be read anew; undefined where it is killed. */
async function start(installed: Installed | undefined, group: Limited): Promise<LlamaCpp | undefined> {
  if (!installed) return undefined
  // Pages that somebody else has read would be had for nothing.
  execFileSync('dd', [`if=${installed.gguf}`, 'iflag=nocache', 'count=0'], { stdio: 'ignore' })
  try {
    const peer = await installed.start({ mmap: true, prefix: group.command })
    await peer.decode(1)
    return peer
  } catch (error) {
    if (group.killed()) return undefined
    throw error
  }
}

await eachDtype(async (measured) => {
  const { dtype, weightBytes } = measured
  await using bounds = await startBounds()
  const installed = findLlamaCpp(measured, { streaming: true })
  const limits: Record<string, object> = {}
  for (const share of [0.9, 0.6, 0.3]) limits[`${share * 100}%`] = await underLimit(bounds, measured, share, installed)
  const megabytes = { weightsMB: round(weightBytes / 1e6), ...(installed && { llamaCppMB: round(statSync(installed.gguf).size / 1e6) }) }
  report('over-memory', { dtype, ...megabytes, settings: SETTINGS, limits }, `over-memory-${dtype}`)
})
