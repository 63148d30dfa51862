// How long until a model that is not here gives its first token, beside a plain download of as many bytes over the same line?
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { fragment, inspect, openStore, push } from '../src/api/index.js'
import { startGateway } from '../src/server/gateway/server.js'
import { hasKubo, startKubo } from '../test/kubo.js'
import { startAsked } from './asked.js'
import type { FirstToken } from './first-token-child.js'
import { note, type Round, report, round, summary } from './measure.js'
import { withFolder, writeLlama } from './synthetic.js'

const ROUNDS = 5
const ENGINES = ['native', 'onnx'] as const
// Untied models that take 8 to 16 seconds to come over each line.
const LINES = [
  { megabytes: 50, layers: 5 },
  { megabytes: 200, layers: 13 },
]
// Each of these rows of the embedding, 4 KiB long, is in a leaf of its own.
const IDS = [1, 20_000, 40_000]
const LEAF = 2 ** 20
const [CHILD, THROTTLE] = ['./first-token-child.js', './throttle-child.js'].map((name) => fileURLToPath(new URL(name, import.meta.url)))

await withFolder(12e9, async (folder) => {
  const store = await openStore(join(folder, 'store'))

  async function child<T>(...args: readonly string[]): Promise<T> {
    const { stdout } = await promisify(execFile)(process.execPath, [CHILD!, ...args])
    return JSON.parse(stdout)
  }

  async function make(layers: number): Promise<string> {
    const input = join(folder, 'in')
    await writeLlama(input, { hidden: 2048, inner: 8192, layers, vocab: 48_000, kvHeads: 8 })
    const { cid } = await fragment(input, { store })
    await rm(input, { recursive: true })
    return cid
  }

  /** What the first token needs: all but the leaves of the embedding in which no row of the prompt is. */
  async function bytesOf(cid: string): Promise<{ needed: number; total: number }> {
    const { size: total, modules } = await inspect(cid, { store })
    const { size } = modules.find(({ key }) => key === 'model.embed_tokens')!
    return { needed: total - size + IDS.length * LEAF, total }
  }

  /** A round of a line: a download, and each engine's first token without and with the model. */
  async function measure(cid: string, server: string, megabytes: number): Promise<Record<(typeof ENGINES)[number], Round>> {
    const { needed } = await bytesOf(cid)
    await using line = startAsked(process.execPath, [THROTTLE!, new URL(server).port, String(megabytes * 1e6)])
    const { url } = JSON.parse(await line.ask('')) as { url: string }
    const download = await child<{ seconds: number }>('download', `${url}/ipfs/${cid}?format=car`, String(needed))
    const first = async (engine: (typeof ENGINES)[number]): Promise<Round> => {
      const warm = await child<FirstToken>('load', store.path, cid, engine, IDS.join())
      const home = await mkdtemp(join(folder, 'new-'))
      const cold = await child<FirstToken>('load', home, cid, engine, IDS.join(), `gateway:${url}`)
      await rm(home, { recursive: true })
      if (cold.tokenId !== warm.tokenId) throw new Error('the first token is another')
      return {
        ofBound: cold.seconds / Math.max(download.seconds, warm.seconds),
        firstTokenSeconds: cold.seconds,
        loadSeconds: cold.loadSeconds,
        downloadSeconds: download.seconds,
        downloadMBs: needed / 1e6 / download.seconds,
        warmSeconds: warm.seconds,
        fetchedMB: cold.fetchedBytes / 1e6,
        fetchedOfNeeded: cold.fetchedBytes / needed,
      }
    }
    return { native: await first('native'), onnx: await first('onnx') }
  }

  const models = new Map<number, string>()
  for (const { layers } of LINES) models.set(layers, await make(layers))

  async function measureAll(name: string, server: string): Promise<void> {
    const lines: Record<string, object> = {}
    for (const { megabytes, layers } of LINES) {
      const cid = models.get(layers)!
      const { needed, total } = await bytesOf(cid)
      const rounds: Awaited<ReturnType<typeof measure>>[] = []
      for (let at = 0; at < ROUNDS; at++) {
        rounds.push(await measure(cid, server, megabytes))
        note(`first-token: ${name} ${megabytes} MB/s ${JSON.stringify(rounds.at(-1))}`)
      }
      const figures = Object.fromEntries(ENGINES.map((engine) => [engine, summary(rounds.map((round) => round[engine]))]))
      lines[`${megabytes} MB/s`] = { assetMB: round(total / 1e6), neededMB: round(needed / 1e6), ...figures }
    }
    report('first-token', { from: name, ...lines }, `first-token-${name}`)
  }

  {
    await using gateway = await startGateway(store, { host: '127.0.0.1', port: 0, onProblem: note })
    await measureAll('gateway', gateway.address)
  }
  if (!hasKubo) return note('first-token: skipped with Kubo')
  await using kubo = await startKubo({ parent: folder })
  for (const cid of models.values()) await push(cid, { store, to: kubo.api })
  await measureAll('kubo', kubo.gateway)
})
