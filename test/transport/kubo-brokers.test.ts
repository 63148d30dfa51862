import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fragment } from '../../src/api/index.js'
import { type HashedFolder, hashFolder } from '../../src/asset/hash-folder.js'
import { parseCid } from '../../src/core/cid.js'
import { Retriever } from '../../src/transport/retriever.js'
import { sourcesOf } from '../../src/transport/sources.js'
import { blocksOf, pushTo } from '../conformance/folders.js'
import { hasKubo, type Kubo, startKubo } from '../kubo.js'
import { temporary } from '../sources/files.js'

const DEMO = fileURLToPath(new URL('../../../models/demo', import.meta.url))
const ABSENT = parseCid('bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy')

describe.runIf(hasKubo)('blocks that a Kubo daemon has', () => {
  let kubo: Kubo
  let asset: HashedFolder
  let car: string
  const folder = temporary()
  beforeAll(async () => {
    kubo = await startKubo()
    const { path } = await folder
    await fragment(DEMO, { out: `${path}/asset` })
    asset = await hashFolder(`${path}/asset`)
    await pushTo(kubo, `${path}/asset`, asset)
    car = `${path}/asset.car`
    const response = await fetch(`${kubo.api}/api/v0/dag/export?arg=${asset.cid}`, { method: 'POST' })
    await writeFile(car, new Uint8Array(await response.arrayBuffer()))
  })
  afterAll(async () => {
    await kubo?.stop()
    await (await folder)[Symbol.asyncDispose]()
  })

  const sources = { 'its RPC': () => `kubo:${kubo.api}`, 'its gateway': () => `gateway:${kubo.gateway}`, 'a CAR of its': () => car }

  it.each(Object.entries(sources))('come out of %s, every one; what it does not have is said to be missing', async (_, source) => {
    const retriever = new Retriever(sourcesOf([source()]))
    const blocks = await blocksOf(asset)
    for (const { cid } of blocks) await retriever.block(cid)
    expect(retriever.counts()).toMatchObject([{ blocks: blocks.length, misses: 0, failures: 0 }])
    await expect(retriever.block(ABSENT)).rejects.toMatchObject({ code: 'NOT_FOUND' })
    expect(retriever.counts()).toMatchObject([{ misses: 1, failures: 0 }])
    await retriever.close()
  })
})
