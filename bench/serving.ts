// How fast does `masset gateway` send a CAR of 2 GB, beside a plain server of that file and Kubo's gateway, and how fast is a pull from
// it, beside a plain download of the file? How much memory does it take, also for 40 clients that are slow?
import { execFile } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { hasKubo, startKubo } from '../test/kubo.js'
import { startAsked } from './asked.js'
import { note, type Round, report, round, summary } from './measure.js'
import { inTurn, transfer, withTwoGigabytes } from './two-gigabytes.js'

const ROUNDS = 5
const SLOW_CLIENTS = 40
const CHILD = fileURLToPath(new URL('./serving-child.js', import.meta.url))

/** A server in a process of its own, where it listens, and the most memory that it took. */
async function server(kind: 'gateway' | 'plain', path: string) {
  const child = startAsked(process.execPath, [CHILD, kind, path])
  const address = await child.ask('')
  return { address, rssMB: async () => Number(await child.ask('rss')), [Symbol.asyncDispose]: () => child[Symbol.asyncDispose]() }
}

await withTwoGigabytes(async ({ store, cid, car, bytes, folder }) => {
  await using plain = await server('plain', car)
  const kubo = hasKubo ? await startKubo({ parent: folder }) : undefined
  await kubo?.exec('dag', 'import', car)
  const carOf = (address: string) => `${address}/ipfs/${cid}?format=car`
  const [target, other] = [join(folder, 'download'), join(folder, 'other')]
  const rounds: Round[] = []
  for (let at = 0; at < ROUNDS; at++) {
    await using gateway = await server('gateway', store)
    const sent = await inTurn(at, {
      plain: () => transfer('discard', plain.address),
      ours: () => transfer('discard', carOf(gateway.address)),
      ...(kubo && { kubo: () => transfer('discard', carOf(kubo.gateway)) }),
    })
    const kept = await inTurn(at, {
      plain: () => transfer('download', plain.address, target),
      pull: () => transfer('pull', other, cid, `gateway:${gateway.address}`),
    })
    await rm(target)
    await rm(other, { recursive: true })
    const rssMB = await gateway.rssMB()
    await promisify(execFile)(process.execPath, [CHILD, 'slow', carOf(gateway.address), String(SLOW_CLIENTS)])
    const rate = ({ seconds }: { seconds: number }) => bytes / 1e6 / seconds
    rounds.push({
      plainSendMBs: rate(sent.plain),
      gatewaySendMBs: rate(sent.ours),
      gatewayOfPlain: sent.plain.seconds / sent.ours.seconds,
      ...(sent.kubo && { kuboSendMBs: rate(sent.kubo), gatewayOfKubo: sent.kubo.seconds / sent.ours.seconds }),
      downloadMBs: rate(kept.plain),
      pullMBs: rate(kept.pull),
      pullOfDownload: kept.plain.seconds / kept.pull.seconds,
      pullRssMB: kept.pull.rssMB,
      gatewayRssMB: rssMB,
      gatewaySlowRssMB: await gateway.rssMB(),
    })
    note(`serving: ${JSON.stringify(rounds.at(-1))}`)
  }
  await kubo?.stop()
  report('serving', { megabytes: round(bytes / 1e6), slowClients: SLOW_CLIENTS, ...summary(rounds) })
})
