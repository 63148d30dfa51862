// Decoding a mixture of experts that is larger than the memory that its process may use, with a skewed router: what a token reads
// is the experts that it is sent to and that are not in memory, counted to the byte; time per token against reading that at the
// disk's own speed, and how many of the experts' bytes are found in memory. Beside it llama.cpp with its file mapped, under the
// same limit. Linux, root, the memory controller of cgroup v1. With --small it only shows that it runs.
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fragment, openStore, plan, type Store } from '../src/api/index.js'
import { openAsset } from '../src/store/open-asset.js'
import { startAsked } from './asked.js'
import { type Bounds, startBounds } from './bounds.js'
import { type Limited, limitTo } from './cgroup.js'
import { findLlamaCpp, type Installed, type LlamaCpp } from './llama-cpp.js'
import { type Round, report, round, summary } from './measure.js'
import { QWEN3_30B_LAYERS, SMALL, writeMixture } from './mixture.js'
import type { Drawn } from './moe-child.js'
import { options } from './options.js'
import { withFolder } from './synthetic.js'

const SHAPE = options.small ? SMALL : QWEN3_30B_LAYERS
// What the process takes beside its budget: ONNX Runtime's float32 copy of the weight in use, activations, JavaScript.
const SETTINGS = { threads: 2, tokens: 32, peerTokens: 16, rounds: options.small ? 2 : 5, besideBudgetMB: 350 }
// A checkpoint, an asset, a peer's file.
const BYTES = options.small ? 1e9 : 26e9
const NAME = options.small ? 'mixture-small' : 'mixture'
const script = fileURLToPath(new URL('./moe-child.js', import.meta.url))

interface Made {
  readonly store: Store
  readonly cid: string
  readonly folder: string
  readonly files: readonly string[]
}

/** Under one limit: rounds of both, one after the other. */
async function underLimit(bounds: Bounds, { store, cid, files }: Made, limit: number, installed: Installed | undefined): Promise<object> {
  const budget = limit - SETTINGS.besideBudgetMB * 1e6
  const { expertBytes, expertCacheBytes, pinnedBytes } = await plan(cid, { store, memory: budget })
  await using group = limitTo(limit, 'ours')
  const numbers = [budget, SETTINGS.threads, SHAPE.hidden * 2].map(String)
  const [command, ...args] = [...group.command, process.execPath, script, store.path, cid, ...numbers]
  await using ours = startAsked(command!, args)
  const decode = async () => JSON.parse(await ours.ask(`decode ${SETTINGS.tokens}`)) as Drawn
  // Until what is in memory is what tokens want.
  for (let warm = 0; warm < 3; warm++) await decode()
  await using theirGroup = limitTo(limit, 'theirs')
  await using peer = await start(installed, theirGroup)
  const rounds: Round[] = []
  let engine = ''
  for (let at = 0; at < SETTINGS.rounds; at++) {
    const before = await bounds.disk(files)
    const drawn = await decode()
    engine = drawn.engine
    const disk = Math.max(before, await bounds.disk(files))
    const theirs = await peer?.decode(SETTINGS.peerTokens)
    rounds.push({
      tokensPerSecond: 1 / drawn.secondsPerToken,
      expertMB: drawn.expertBytesPerToken / 1e6,
      expertReadMB: drawn.expertBytesReadPerToken / 1e6,
      hitRate: 1 - drawn.expertBytesReadPerToken / drawn.expertBytesPerToken,
      readMB: drawn.bytesReadPerToken / 1e6,
      fromDiskMB: drawn.diskBytesPerToken / 1e6,
      rawDiskGBs: disk,
      timeOverReading: drawn.secondsPerToken / (drawn.bytesReadPerToken / 1e9 / disk),
      waiting: drawn.waitShare,
      ...(theirs && {
        llamaCppTokensPerSecond: 1 / theirs.secondsPerToken,
        llamaCppReadMB: theirs.readBytesPerToken / 1e6,
        overLlamaCpp: theirs.secondsPerToken / drawn.secondsPerToken,
      }),
    })
  }
  return {
    limitMB: round(limit / 1e6),
    budgetMB: round(budget / 1e6),
    pinnedMB: round(pinnedBytes / 1e6),
    expertsInMemory: round(expertCacheBytes / expertBytes),
    engine,
    anonymousOverBudgetMB: round((group.anonymousPeak() - budget) / 1e6),
    ...(installed && { llamaCpp: peer ? installed.version : `${installed.version}: killed` }),
    ...summary(rounds),
  }
}

/** llama.cpp with its file mapped, all pages of it to be read anew; undefined where it is killed. */
async function start(installed: Installed | undefined, group: Limited): Promise<LlamaCpp | undefined> {
  if (!installed) return undefined
  execFileSync('dd', [`if=${installed.gguf}`, 'iflag=nocache', 'count=0'], { stdio: 'ignore' })
  try {
    const peer = await installed.start({ mmap: true, prefix: group.command })
    for (let warm = 0; warm < 3; warm++) await peer.decode(SETTINGS.peerTokens)
    return peer
  } catch (error) {
    if (group.killed()) return undefined
    throw error
  }
}

async function make(folder: string): Promise<Made> {
  const checkpoint = join(folder, NAME)
  if (!existsSync(join(checkpoint, 'config.json'))) await writeMixture(checkpoint, SHAPE)
  const store = await openStore(join(folder, 'store'))
  const { cid } = await fragment(checkpoint, { store })
  await using asset = await openAsset(cid, async () => store)
  const bySize = [...asset.manifest.files.values()].sort((a, b) => b.size - a.size)
  const places = await Promise.all(bySize.slice(0, 64).map((file) => asset.placeOf(file)))
  return { store, cid, folder, files: places.map(({ path }) => path) }
}

async function measure(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  const made = await make(folder)
  const { weightBytes, expertBytes } = await plan(made.cid, { store: made.store })
  await using bounds = await startBounds()
  const installed = findLlamaCpp({ dtype: 'bf16', folder }, { name: NAME, temperature: 1 })
  const limits: Record<string, object> = {}
  for (const share of [0.6, 0.3]) {
    const limit = Math.floor(share * weightBytes) + (options.small ? SETTINGS.besideBudgetMB * 1e6 : 0)
    limits[`${share * 100}%`] = await underLimit(bounds, made, limit, installed)
  }
  const megabytes = { weightsMB: round(weightBytes / 1e6), expertsMB: round(expertBytes / 1e6) }
  report('moe', { shape: SHAPE, ...megabytes, settings: SETTINGS, limits })
}

if (options.folder) await measure(options.folder)
else await withFolder(BYTES, measure)
