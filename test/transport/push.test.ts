import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cp, open, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { exportCar, fragment, importCar, openStore, push, type Store, verify } from '../../src/api/index.js'
import { KuboRpc } from '../../src/transport/kubo-rpc.js'
import { hasKubo, type Kubo, startKubo } from '../kubo.js'
import { temporary } from '../sources/files.js'
import { leaf } from './made-blocks.js'
import { oddServer } from './odd-server.js'

const DEMO = fileURLToPath(new URL('../../../models/demo', import.meta.url))

describe('pushing, exporting and importing an asset', () => {
  const folder = temporary()
  let path: string
  let store: Store
  let cid: string
  let kubo: Kubo | undefined
  beforeAll(async () => {
    path = (await folder).path
    store = await openStore(`${path}/store`)
    cid = (await fragment(DEMO, { store })).cid
    if (hasKubo) kubo = await startKubo()
  })
  afterAll(async () => {
    await kubo?.stop()
    await (await folder)[Symbol.asyncDispose]()
  })
  const sha = async (file: string) =>
    createHash('sha256')
      .update(await readFile(file))
      .digest('hex')

  it.runIf(hasKubo)('sends all blocks to a node that has none, none the second time, then only what differs', async () => {
    const to = kubo!.api
    const first = await push(cid, { store, to })
    expect(first).toMatchObject({ cid, to: `kubo ${to}`, sent: first.all, skipped: { blocks: 0, bytes: 0 }, pinned: false })
    expect(await push(cid, { store, to })).toMatchObject({ sent: { blocks: 0, bytes: 0 }, skipped: first.all })
    const named = await fragment(DEMO, { store, name: 'another name' })
    // Its manifest and its root; every other block is shared.
    expect(await push(named.cid, { store, to })).toMatchObject({ sent: { blocks: 2 }, skipped: { blocks: first.all.blocks - 2 } })
    const pinned = async () => kubo!.exec('pin', 'ls', '--type=recursive', '--quiet')
    expect(await pinned()).not.toContain(cid)
    expect(await push(cid, { store, to, pin: true })).toMatchObject({ pinned: true, sent: { blocks: 0 } })
    expect(await pinned()).toContain(cid)
  })

  it.runIf(hasKubo)('writes the CAR that "ipfs dag export" writes, and takes the asset out of it again', async () => {
    await push(cid, { store, to: kubo!.api })
    const written = await exportCar(cid, `${path}/ours.car`, { store })
    await exportCar(cid, `${path}/again.car`, { store })
    const response = await fetch(`${kubo!.api}/api/v0/dag/export?arg=${cid}`, { method: 'POST' })
    const theirs = createHash('sha256')
      .update(new Uint8Array(await response.arrayBuffer()))
      .digest('hex')
    expect([await sha(`${path}/ours.car`), await sha(`${path}/again.car`)]).toEqual([theirs, theirs])
    expect(written.blocks).toBeGreaterThan(50)
  })

  it('takes an asset out of a CAR, whole, and refuses to write over a file', async () => {
    await exportCar(cid, `${path}/demo.car`, { store })
    await expect(exportCar(cid, `${path}/demo.car`, { store })).rejects.toMatchObject({ code: 'BAD_USAGE' })
    // made by somebody else while the CAR is written
    const onProgress = () => writeFileSync(`${path}/late.car`, 'theirs')
    await expect(exportCar(cid, `${path}/late.car`, { store, onProgress })).rejects.toMatchObject({
      code: 'BAD_USAGE',
      message: `Cannot write ${path}/late.car: it exists already; name a new file or remove it first`,
    })
    expect(readFileSync(`${path}/late.car`, 'utf8')).toBe('theirs')
    expect(readdirSync(path).filter((name) => name.endsWith('.tmp'))).toEqual([])
    const other = await openStore(`${path}/other`)
    expect(await importCar(`${path}/demo.car`, { store: other })).toMatchObject({ cid, files: 47 })
    expect(await verify(cid, { store: other })).toMatchObject({ damage: [] })
  })

  it.runIf(hasKubo)('sends no damaged byte: a file that changed is an error that names it', async () => {
    await cp(`${path}/store`, `${path}/damaged`, { recursive: true })
    const damaged = await openStore(`${path}/damaged`)
    const { manifest } = await damaged.describe(cid)
    const file = manifest.files.get('tokenizer.json')!
    const handle = await open(damaged.layout.file(String(file.cid)), 'r+')
    await handle.write('!', 10)
    await handle.close()
    await using empty = await startKubo()
    await expect(push(cid, { store: damaged, to: empty.api })).rejects.toMatchObject({
      code: 'CORRUPT',
      message: expect.stringContaining('tokenizer.json'),
    })
    expect(await empty.exec('refs', 'local')).not.toContain(String(file.cid))
  })

  it('61: without a node, with one that is too old, or at an address of something else, says so', async () => {
    const gone = await oddServer(() => undefined)
    await gone[Symbol.asyncDispose]()
    await expect(push(cid, { store, to: gone.url })).rejects.toThrow(
      `Cannot use the kubo ${gone.url}: nothing answers there (connection refused); start it with "ipfs daemon", or name the address of its RPC`,
    )
    await using old = await oddServer((_, response) => response.end('{"Version":"0.29.0"}'))
    await expect(push(cid, { store, to: old.url })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('0.29.0'),
    })
    for (const body of ['<html>', '[]', '']) {
      await using page = await oddServer((_, response) => response.end(body))
      await expect(push(cid, { store, to: page.url })).rejects.toThrow('is this the address of its RPC?')
    }
    await expect(push(cid, { store, to: 'localhost:5001' })).rejects.toMatchObject({ code: 'BAD_USAGE' })
  })

  it('asks the node what it has itself, and never lets it search the network', async () => {
    await using node = await oddServer((request, response) => {
      const command = new URL(request.url!, 'http://x').pathname.replace('/api/v0/', '')
      const missing = { Message: 'block was not found locally (offline): ipld: could not find it', Code: 0, Type: 'error' }
      if (command === 'block/stat') response.writeHead(500).end(JSON.stringify(missing))
      else request.resume().on('end', () => response.end(JSON.stringify(command === 'version' ? { Version: '0.43.0' } : {})))
    })
    // It takes nothing, so that the first upload ends it.
    await expect(push(cid, { store, to: node.url, pin: true })).rejects.toMatchObject({ code: 'IO' })
    const searches = node.asked.filter(({ path }) => !/\/(version|dag\/import)\b/.test(path) && !/[?&]offline=true(&|$)/.test(path))
    expect(searches).toEqual([])
    expect(node.asked.filter(({ path }) => path.includes('/block/stat?')).length).toBeGreaterThan(10)
  })

  it.runIf(hasKubo)('61: of a node that is online too, only what it has counts', async () => {
    await using online = await startKubo({ online: true })
    const { all, sent } = await push(cid, { store, to: online.api, pin: true })
    expect(sent).toEqual(all)
  })

  it('57: a node that never says what it has, or whether it pinned, is given up', async () => {
    await using hung = await oddServer(() => undefined)
    const node = new KuboRpc(hung.url, 50)
    const { cid: root } = leaf('a block')
    for (const call of [() => node.stat(root, 1000), () => node.pin(root, 1000)])
      await expect(call()).rejects.toMatchObject({ code: 'IO', message: expect.stringContaining('made no progress') })
    await node.close()
  })

  it('61: a node that counts other blocks under the CID, or another CID, is an error', async () => {
    const answers = [{ UniqueBlocks: 1, TotalSize: 1 }, { UniqueBlocks: 63, DagStats: [{ Cid: { '/': 'bafyother' } }] }, {}]
    for (const answer of answers) {
      await using lying = await oddServer((request, response) => {
        const command = new URL(request.url!, 'http://x').pathname.replace('/api/v0/', '')
        const known: Record<string, unknown> = { version: { Version: '0.43.0' }, 'block/stat': { Size: 1 }, 'dag/stat': answer }
        response.end(JSON.stringify(known[command]))
      })
      await expect(push(cid, { store, to: lying.url })).rejects.toMatchObject({
        code: 'IO',
        message: expect.stringContaining('Cannot push'),
      })
    }
  })
})
