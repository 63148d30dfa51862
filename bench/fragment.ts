// How fast is fragmenting, beside reading and hashing the same bytes on all cores, without and with writing them?
import { rm } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { Piscina } from 'piscina'
import { fragment } from '../src/api/index.js'
import { median, report, round, seconds } from './measure.js'
import { withFolder, writeLlama } from './synthetic.js'

const CHUNK = 32 * 1024 * 1024

await withFolder(3e9, async (folder) => {
  const source = join(folder, 'in')
  const bytes = await writeLlama(source, { hidden: 2048, inner: 5632, layers: 8, vocab: 32000 })
  const path = join(source, 'model.safetensors')
  const pool = new Piscina({ filename: new URL('./raw-worker.js', import.meta.url).href, maxThreads: availableParallelism() })
  const offsets = Array.from({ length: Math.ceil(bytes / CHUNK) }, (_, i) => i * CHUNK)
  const raw = (write: boolean) =>
    Promise.all(
      offsets.map((offset) =>
        pool.run(
          { path, offset, length: Math.min(CHUNK, bytes - offset), ...(write && { target: join(folder, `raw-${offset}`) }) },
          { name: 'readAndHash' },
        ),
      ),
    )
  await raw(false)
  const rounds: { hash: number; write: number; ours: number }[] = []
  for (let round = 0; round < 5; round++) {
    const hash = await seconds(() => raw(false))
    const write = await seconds(() => raw(true))
    for (const offset of offsets) await rm(join(folder, `raw-${offset}`))
    const ours = await seconds(() => fragment(source, { out: join(folder, 'out') }))
    await rm(join(folder, 'out'), { recursive: true })
    rounds.push({ hash, write, ours })
  }
  await pool.destroy()
  const rate = (pick: (one: (typeof rounds)[number]) => number) => round(bytes / 1e6 / median(rounds.map(pick)))
  report('fragment', {
    megabytes: round(bytes / 1e6),
    readHashMBs: rate((one) => one.hash),
    readHashWriteMBs: rate((one) => one.write),
    fragmentMBs: rate((one) => one.ours),
    ofReadHash: round(median(rounds.map(({ hash, ours }) => hash / ours))),
    ofReadHashWrite: round(median(rounds.map(({ write, ours }) => write / ours))),
    peakRssMB: round(process.resourceUsage().maxRSS / 1000),
  })
})
