import { writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { QUICK } from '../hostile/trees.js'
import { hasKubo, type Kubo, startKubo } from '../kubo.js'
import { temporary } from '../sources/files.js'
import { serveShapes } from './shapes.js'

const COMPARED = [
  'content-type',
  'content-range',
  'content-disposition',
  'accept-ranges',
  'cache-control',
  'x-ipfs-roots',
  'x-content-type-options',
]
const SMALL = ['empty', 'one', 'leaf', 'leaf and one', 'in folders/of many leaves', 'in folders', 'asset.json']
const RANGES = ['0:0', '5:-5', '-5:*', '1048570:2097152', '99999999:*', '-99999999:0']

describe.runIf(hasKubo)('the gateway beside that of Kubo', () => {
  let folder: Awaited<ReturnType<typeof temporary>>
  let kubo: Kubo
  let served: Awaited<ReturnType<typeof serveShapes>>
  const cidOf = (path: string) => kubo.exec('resolve', `/ipfs/${served.cid}/${path}`).then((found) => found.replace('/ipfs/', ''))

  // Kubo knows nothing but what comes out of our gateway, as one CAR.
  beforeAll(async () => {
    folder = await temporary(QUICK)
    ;[kubo, served] = await Promise.all([startKubo(), serveShapes(folder.path, { huge: true })])
    const reply = await fetch(`${served.gateway.address}/ipfs/${served.cid}?format=car`)
    await writeFile(`${folder.path}/all.car`, reply.body!)
    expect(await kubo.exec('dag', 'import', `${folder.path}/all.car`)).toContain(served.cid)
  })
  afterAll(async () => {
    await kubo?.stop()
    await served?.gateway.close()
    await folder?.[Symbol.asyncDispose]()
  })

  /** Asks both; status, body, and the headers that matter must be the same. */
  async function expectSame(path: string, init?: RequestInit): Promise<Response> {
    const ask = async (base: string) => {
      const reply = await fetch(base + path, init)
      return { reply, body: Buffer.from(await reply.arrayBuffer()) }
    }
    const [ours, theirs] = await Promise.all([ask(served.gateway.address), ask(kubo.gateway)])
    const facts = ({ status, headers }: Response) => [path, status, COMPARED.map((name) => [name, headers.get(name)])]
    expect(facts(ours.reply)).toEqual(facts(theirs.reply))
    expect(Buffer.compare(ours.body, theirs.body), path).toBe(0)
    return ours.reply
  }

  it('sends the same blocks, whole and in part, for GET and HEAD, with the same tags', async () => {
    for (const path of [...SMALL, 'many', 'huge']) {
      const url = `/ipfs/${await cidOf(path)}?format=raw`
      const { headers } = await expectSame(url)
      expect(headers.get('etag')).toBe((await fetch(kubo.gateway + url)).headers.get('etag'))
      expect(await expectSame(url, { method: 'HEAD' })).toMatchObject({ status: 200 })
      const size = Number(headers.get('content-length'))
      // Kubo takes the first byte of one for no range.
      for (const range of size < 2 ? [] : ['0-0', '0-', '-3', '5-20', '0-99999999'])
        await expectSame(`${url}&filename=t%D0%B5%D1%81t.bin`, { headers: { range: `bytes=${range}` } })
    }
    // A node between root and leaves, which is in no list of ours until it is asked for.
    const [inner] = (await kubo.exec('refs', `/ipfs/${served.cid}/huge`)).split('\n')
    expect(Number((await expectSame(`/ipfs/${inner}?format=raw`)).headers.get('content-length'))).toBeGreaterThan(40_000)
  })

  it('sends the same CARs: of paths, entities, ranges of bytes, blocks, with and without duplicates', async () => {
    const { cid } = served
    for (const path of SMALL) {
      const [own, below] = [await cidOf(path), encodeURI(path)]
      for (const query of ['', '&dag-scope=entity', '&dag-scope=block', '&car-dups=y', '&car-order=unk']) {
        await expectSame(`/ipfs/${own}?format=car${query}`)
        await expectSame(`/ipfs/${cid}/${below}?format=car${query}`)
      }
      for (const bytes of RANGES) await expectSame(`/ipfs/${cid}/${below}?format=car&dag-scope=entity&entity-bytes=${bytes}`)
    }
    for (const bytes of ['1073741823:1073741824', '1073741824:1073741824', '-1:*'])
      await expectSame(`/ipfs/${cid}/huge?format=car&dag-scope=entity&entity-bytes=${bytes}`)
    for (const query of ['', '&dag-scope=entity', '&dag-scope=block']) await expectSame(`/ipfs/${cid}/many?format=car${query}`)
    const one = encodeURI('many/one of many files, number 4711')
    for (const query of ['', '&dag-scope=block', '&car-dups=y', '&filename=x.car'])
      await expectSame(`/ipfs/${cid}/${one}?format=car${query}`)
    await expectSame('/ipfs/bafkqaaa?format=raw')
    await expectSame('/ipfs/bafkqaaa?format=car')
  })

  it('understands the same Accept headers', async () => {
    const url = `/ipfs/${await cidOf('in folders')}`
    for (const accept of [
      'application/vnd.ipld.raw',
      'text/html, application/vnd.ipld.raw;q=0.9, */*;q=0.1',
      'application/vnd.ipld.car',
      'application/vnd.ipld.car; version=1; order=dfs; dups=y',
    ]) {
      const ours = await expectSame(url, { headers: { accept } })
      const theirs = await fetch(kubo.gateway + url, { headers: { accept } })
      const formatOf = (reply: Response) => new URL(reply.headers.get('content-location')!, kubo.gateway).searchParams.get('format')
      expect(formatOf(ours)).toBe(formatOf(theirs))
    }
    await expectSame(`${url}?format=raw`, { headers: { accept: 'application/vnd.ipld.car' } })
    await expectSame(`${url}?format=car`, { headers: { accept: 'application/vnd.ipld.car; dups=y' } })
  })

  it('refuses what Kubo refuses', async () => {
    const statusOf = async (base: string, path: string, accept = '*/*') => (await fetch(base + path, { headers: { accept } })).status
    const { cid } = served
    for (const [path, accept, status] of [
      ['/ipfs/bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi?format=raw', undefined, 404],
      ['/ipfs/nonsense?format=raw', undefined, 400],
      [`/ipfs/${cid}?format=car&dag-scope=some`, undefined, 400],
      [`/ipfs/${cid}?format=car&entity-bytes=x`, undefined, 400],
      [`/ipfs/${cid}?format=car&dag-scope=entity&entity-bytes=5:3`, undefined, 400],
      [`/ipfs/${cid}?format=car&car-version=2`, undefined, 400],
      [`/ipfs/${cid}?format=car&car-order=bfs`, undefined, 400],
      [`/ipfs/${cid}?format=car&car-dups=maybe`, undefined, 400],
      [`/ipfs/${cid}`, 'application/vnd.ipld.car; version=2', 400],
    ] as const)
      expect([path, await statusOf(served.gateway.address, path, accept), await statusOf(kubo.gateway, path, accept)]).toEqual([
        path,
        status,
        status,
      ])
  })
})
