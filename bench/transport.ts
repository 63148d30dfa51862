// How fast are push and pull of 2 GB, beside `ipfs dag import` and a plain HTTP download of the same bytes from the same node?
import { execFile } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { exportCar, fragment, openStore } from '../src/api/index.js'
import { hasKubo, startKubo } from '../test/kubo.js'
import { note, type Round, report, round, seconds, summary } from './measure.js'
import { withFolder, writeLlama } from './synthetic.js'

const ROUNDS = 3
const CHILD = fileURLToPath(new URL('./transport-child.js', import.meta.url))

async function child(...args: readonly string[]): Promise<{ seconds: number; rssMB: number }> {
  const { stdout } = await promisify(execFile)(process.execPath, [CHILD, ...args])
  return JSON.parse(stdout)
}

if (!hasKubo) note('transport: skipped')
else
  await withFolder(12e9, async (folder) => {
    const source = join(folder, 'in')
    await writeLlama(source, { hidden: 2048, inner: 8192, layers: 13, vocab: 128_256, kvHeads: 8, tied: true })
    const store = await openStore(join(folder, 'store'))
    const { cid } = await fragment(source, { store })
    await rm(source, { recursive: true })
    const car = join(folder, 'asset.car')
    const { bytes } = await exportCar(cid, car, { store })
    const rounds: Round[] = []
    for (let at = 0; at < ROUNDS; at++) {
      const importing = await startKubo({ parent: folder })
      const dagImport = await seconds(() => importing.exec('dag', 'import', car))
      await importing.stop()
      const kubo = await startKubo({ parent: folder })
      const pushed = await child('push', store.path, cid, kubo.api)
      const target = join(folder, 'download')
      const download = await child('download', `${kubo.gateway}/ipfs/${cid}?format=car`, target)
      await rm(target)
      const other = join(folder, 'other')
      const pulled = await child('pull', other, cid, `gateway:${kubo.gateway}`)
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
    }
    report('transport', { megabytes: round(bytes / 1e6), ...summary(rounds) })
  })
