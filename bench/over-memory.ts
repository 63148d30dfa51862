// Decoding a model larger than the memory that its process may use (a cgroup of 90, 60 and 30 percent of the weights):
// time per token against reading the streamed bytes at the disk's own speed. Linux, root, the memory controller of cgroup v1.
import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { plan } from '../src/api/index.js'
import { startBounds } from './bounds.js'
import { median, report, round } from './measure.js'
import { LLAMA_1B, withLlama } from './synthetic.js'

const GROUP = '/sys/fs/cgroup/memory/masset-bench'
// What the process needs beside its weights.
const OTHERS = 150e6
const TOKENS = 6

interface Figures {
  secondsPerToken: number
  streamedBytes: number
  readBytes: number
  waitShare: number
  diskBusy: number
}

async function limited(limit: number, args: string[]): Promise<Figures & { anonymousPeak: number }> {
  mkdirSync(GROUP, { recursive: true })
  writeFileSync(`${GROUP}/memory.limit_in_bytes`, String(Math.floor(limit)))
  const script = fileURLToPath(new URL('./limited.js', import.meta.url))
  const child = spawn('sh', ['-c', `echo $$ > ${GROUP}/cgroup.procs && exec "$@"`, 'sh', process.execPath, script, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  let anonymousPeak = 0
  child.stdout.on('data', (piece) => {
    text += piece
  })
  const watch = setInterval(() => {
    const rss = /^rss (\d+)$/m.exec(readFileSync(`${GROUP}/memory.stat`, 'utf8'))
    anonymousPeak = Math.max(anonymousPeak, Number(rss?.[1] ?? 0))
  }, 50)
  const code = await new Promise((resolve) => child.on('close', resolve))
  clearInterval(watch)
  rmdirSync(GROUP)
  if (code !== 0) throw new Error(`the limited process ended with ${code}`)
  return { ...(JSON.parse(text) as Figures), anonymousPeak }
}

await withLlama(LLAMA_1B, async (store, cid, source) => {
  await using bounds = await startBounds()
  const { weightBytes } = await plan(cid, { store, engine: 'native' })
  const limits: Record<string, object> = {}
  for (const share of [0.9, 0.6, 0.3]) {
    const limit = share * weightBytes
    const budget = Math.floor(limit - OTHERS)
    const rounds: (Figures & { anonymousPeak: number; raw: number })[] = []
    for (let at = 0; at < 5; at++) {
      const before = await bounds.disk(source)
      const figures = await limited(limit, [store.path, cid, String(budget), String(TOKENS)])
      rounds.push({ ...figures, raw: Math.max(before, await bounds.disk(source)) * 1e9 })
    }
    const of = (pick: (one: (typeof rounds)[number]) => number) => round(median(rounds.map(pick)))
    limits[`${share * 100}%`] = {
      tokensPerSecond: of((one) => 1 / one.secondsPerToken),
      streamedMB: of((one) => one.streamedBytes / 1e6),
      mostStreamedMB: round((weightBytes - 0.9 * (limit - OTHERS)) / 1e6),
      rawDiskGBs: of((one) => one.raw / 1e9),
      timeOverReading: of((one) => one.secondsPerToken / (one.streamedBytes / one.raw)),
      timeOverReadingRounds: rounds.map((one) => round(one.secondsPerToken / (one.streamedBytes / one.raw))),
      diskBusy: of((one) => one.diskBusy),
      anonymousOverBudgetMB: of((one) => (one.anonymousPeak - budget) / 1e6),
    }
  }
  report('over-memory', { dtype: 'BF16', weightsMB: round(weightBytes / 1e6), limits })
})
