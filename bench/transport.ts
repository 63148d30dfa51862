// How fast are push and pull of 2 GB, beside `ipfs dag import` and a plain HTTP download of the same bytes from the same node?
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { hasKubo, startKubo } from '../test/kubo.js'
import { note, type Round, report, round, seconds, summary } from './measure.js'
import { inTurn, transfer, withTwoGigabytes } from './two-gigabytes.js'

const ROUNDS = 6

if (!hasKubo) note('transport: skipped')
else
  await withTwoGigabytes(async ({ store, cid, car, bytes, folder }) => {
    const rounds: Round[] = []
    for (let at = 0; at < ROUNDS; at++) {
      const importing = await startKubo({ parent: folder })
      const kubo = await startKubo({ parent: folder })
      const { dagImport, pushed } = await inTurn(at, {
        dagImport: () => seconds(() => importing.exec('dag', 'import', car)),
        pushed: () => transfer('push', store, cid, kubo.api),
      })
      await importing.stop()
      const [target, other] = [join(folder, 'download'), join(folder, 'other')]
      const { download, pulled } = await inTurn(at, {
        download: () => transfer('download', `${kubo.gateway}/ipfs/${cid}?format=car`, target),
        pulled: () => transfer('pull', other, cid, `gateway:${kubo.gateway}`),
      })
      await rm(target)
      await rm(other, { recursive: true })
      await kubo.stop()
      rounds.push({
        dagImportMBs: bytes / 1e6 / dagImport,
        pushMBs: bytes / 1e6 / pushed.seconds,
        pushOfDagImport: dagImport / pushed.seconds,
        pushRssMB: pushed.rssMB,
        downloadMBs: bytes / 1e6 / download.seconds,
        pullMBs: bytes / 1e6 / pulled.seconds,
        pullOfDownload: download.seconds / pulled.seconds,
        pullRssMB: pulled.rssMB,
      })
      note(`transport: ${JSON.stringify(rounds.at(-1))}`)
    }
    report('transport', { megabytes: round(bytes / 1e6), ...summary(rounds) })
  })
