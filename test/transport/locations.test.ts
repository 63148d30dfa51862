import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { CID } from 'multiformats/cid'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addLocations, encodeInto, fragment, getFolder, openStore, removeLocations, type Store, verify } from '../../src/api/index.js'
import { pullAsset } from '../../src/transport/pull.js'
import { Retriever } from '../../src/transport/retriever.js'
import { sourcesFor, sourcesOf } from '../../src/transport/sources.js'
import { serve } from '../server/shapes.js'
import { temporary } from '../sources/files.js'
import { serveArweave, serveCeramic, serveHttp } from './scheme-servers.js'

const CLI = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))
const DEMO = fileURLToPath(new URL('../../../models/demo', import.meta.url))
const TX = randomBytes(32).toString('base64url')
const PENDING = randomBytes(32).toString('base64url')
const PIECE = 'baga6ea4seaqao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq'
const STREAM = 'kjzl6cwe1jw147r7878h32yazawcll6bxe5v92348cxitif6cota91qp68grbhm'
const OTHER = 'kjzl6cwe1jw149tlplc4bgnpn1v4uwk9rg9jkvijx0u0zmfa97t69dnqibqa2as'

describe('an asset by where it may be had', () => {
  let folder: Awaited<ReturnType<typeof temporary>>
  let served: Awaited<ReturnType<typeof serve>>
  let cid: string
  let car: Uint8Array
  beforeAll(async () => {
    folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    cid = (await fragment(DEMO, { store })).cid
    served = await serve(store)
    car = new Uint8Array(await (await fetch(`${served.gateway.address}/ipfs/${cid}?format=car`)).arrayBuffer())
    await writeFile(`${folder.path}/asset.car`, car)
    await getFolder(store, cid, `${folder.path}/asset`)
  })
  afterAll(async () => {
    await served?.gateway.close()
    await folder?.[Symbol.asyncDispose]()
  })

  /** Pulls the asset from these sources into a new store; how many blocks came, and what each broker did. */
  async function pull(texts: readonly string[], env: NodeJS.ProcessEnv = {}) {
    await using other = await temporary()
    const store = await openStore(`${other.path}/store`)
    const retriever = new Retriever(sourcesOf(texts, env), { rest: 1 })
    try {
      const { fetched } = await pullAsset(CID.parse(cid), { store, blocks: (cid, options) => retriever.block(cid, options) })
      expect((await verify(cid, { store })).damage).toEqual([])
      return { fetched, counts: retriever.counts() }
    } finally {
      await retriever.close()
    }
  }

  it('comes from the gateway of another store, block by block', async () => {
    const { fetched, counts } = await pull([served.gateway.address.replace('http:', 'gateway:http:')])
    expect(fetched.blocks).toBeGreaterThan(40)
    expect(counts[0]).toMatchObject({ blocks: fetched.blocks, failures: 0, misses: 0 })
    expect(served.problems).toEqual([])
  })

  it.each(['http:', 'http: with /ipfs', 'ipfs:', 'fil:'])('comes from a trustless gateway by %s', async (how) => {
    const { address } = served.gateway
    const env = { MODULE_ASSETS_IPFS_GATEWAYS: address, MODULE_ASSETS_FILECOIN_GATEWAYS: `http://127.0.0.1:1,${address}` }
    const uri = { 'http:': address, 'http: with /ipfs': `${address}/ipfs/${cid}`, 'ipfs:': `ipfs://${cid}`, 'fil:': `fil://${cid}` }[how]!
    expect((await pull([uri], env)).fetched.blocks).toBeGreaterThan(40)
  })

  it('comes from a CAR and from a folder of this machine', async () => {
    for (const path of ['asset.car', 'asset'])
      expect((await pull([String(pathToFileURL(`${folder.path}/${path}`))])).fetched.blocks).toBeGreaterThan(40)
  })

  it('comes as a CAR of a web server, fetched once', async () => {
    await using server = await serveHttp((_, reply) => reply.end(car))
    await pull([`${server.address}/some/asset.car`])
    await pull([`${server.address}/download?format=car&id=1`])
    expect(server.asked.map((line) => line.split(' ')[1])).toEqual(['/some/asset.car', '/download?format=car&id=1'])
  })

  it('comes from Arweave, by way of the host of its own that a transaction has', async () => {
    await using server = await serveArweave(
      new Map([
        [TX, car],
        [`${TX}/a/b.car`, car],
      ]),
      PENDING,
    )
    const env = { MODULE_ASSETS_ARWEAVE_GATEWAYS: `http://localhost:${server.port}` }
    await pull([`ar://${TX}`], env)
    await pull([`ar://${TX}/a/b.car`], env)
    expect(server.asked).toHaveLength(4)
    expect(server.asked[1]).toMatch(/^[a-z2-7]{52}\.localhost:\d+ \/[\w-]{43}$/)
    await expect(pull([`ar://${PENDING}`], env)).rejects.toMatchObject({ code: 'IO', message: expect.stringContaining('not there yet') })
    await expect(pull([`ar://${randomBytes(32).toString('base64url')}`], env)).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  it('comes as a piece of Filecoin, which may be filled up with zeros', async () => {
    await using server = await serveHttp((request, reply) => {
      const padded = request.url === `/piece/${PIECE}`
      reply
        .writeHead(padded ? 200 : 404, { 'content-type': 'application/octet-stream' })
        .end(padded && Buffer.concat([car, Buffer.alloc(4096)]))
    })
    await pull([`fil://${PIECE}`], { MODULE_ASSETS_FILECOIN_GATEWAYS: server.address })
    expect(server.asked).toHaveLength(1)
  })

  it('comes from where a stream of Ceramic says that it is, in its newest content', async () => {
    await using server = await serveCeramic(
      new Map([
        [STREAM, { content: { cid }, next: { content: { multiURI: [`ar://${TX}`, `ipfs://${cid}`] } } }],
        [OTHER, { content: { cid } }],
      ]),
    )
    await using arweave = await serveArweave(new Map(), PENDING)
    const env = {
      MODULE_ASSETS_CERAMIC_NODES: server.address,
      MODULE_ASSETS_IPFS_GATEWAYS: served.gateway.address,
      MODULE_ASSETS_ARWEAVE_GATEWAYS: arweave.address,
    }
    await pull([`ceramic://${STREAM}`], env)
    expect(server.asked).toHaveLength(1)
    // It would come as a whole.
    expect(arweave.asked).toEqual([])
    await pull([`ceramic://${OTHER}`], env)
  })

  it('a stream of Ceramic is read for all who wait, whoever of them is cancelled', async () => {
    let reads = 0
    await using server = await serveHttp((_, reply) => {
      reads += 1
      setImmediate(() => {
        controller.abort()
        setImmediate(() => reply.end(JSON.stringify({ state: { content: { cid } } })))
      })
    })
    const controller = new AbortController()
    const env = { MODULE_ASSETS_CERAMIC_NODES: server.address, MODULE_ASSETS_IPFS_GATEWAYS: served.gateway.address }
    const [broker] = sourcesOf([`ceramic://${STREAM}`], env)
    const root = CID.parse(cid)
    const asked = [broker!.block(root, { limit: 2 ** 20, signal: controller.signal }), broker!.block(root, { limit: 2 ** 20 })]
    const [first, second] = await Promise.allSettled(asked)
    expect(first).toMatchObject({ status: 'rejected', reason: { code: 'ABORTED' } })
    expect(second).toMatchObject({ status: 'fulfilled' })
    expect(reads).toBe(1)
    await broker!.close!()
  })

  it.each([
    ['a file of this machine', ['file:///etc/passwd']],
    ['another stream', [`ceramic://${OTHER}`]],
    ['a node of this machine', ['kubo:http://127.0.0.1:5001']],
    ['a server that is not on the public internet', ['https://127.0.0.1/x.car']],
    ['another by its name', ['https://localhost:5001']],
    ['one of IPv6', ['https://[::1]/x.car']],
    ['nothing', []],
    ['no list', 'ipfs://x'],
    ['numbers', [1]],
    ['more than is bearable', Array(17).fill('ipfs://x')],
  ])('58: whoever controls a stream can not send us to %s', async (_what, multiURI) => {
    await using server = await serveCeramic(new Map([[STREAM, { content: { multiURI } }]]))
    const env = { MODULE_ASSETS_CERAMIC_NODES: server.address }
    await expect(pull([`ceramic://${STREAM}`], env)).rejects.toThrow(/Cannot use|alone|is not on the public internet|no list|neither/)
  })

  it('57: takes neither wrong bytes, nor pages, nor what is cut off; another source makes up for it', async () => {
    const wrong = Buffer.from(car)
    for (let at = 100_000; at < wrong.length; at += 50_000) wrong[at]! ^= 1
    await using server = await serveHttp((request, reply) => {
      if (request.url === '/wrong.car') reply.end(wrong)
      else if (request.url === '/page.car') reply.writeHead(200, { 'content-type': 'text/html' }).end('<html>'.repeat(1000))
      else if (request.url === '/short.car') reply.end(car.subarray(0, 700_000))
      else if (request.url === '/huge.car') reply.writeHead(200, { 'content-length': Number.MAX_SAFE_INTEGER }).write(car)
      else reply.writeHead(429, { 'retry-after': '1' }).end('slow down')
    })
    for (const path of ['wrong', 'page', 'short', 'busy']) {
      const bad = `${server.address}/${path}.car`
      await expect(pull([bad]), path).rejects.toMatchObject({ name: 'AssetError' })
      const { counts } = await pull([bad, `gateway:${served.gateway.address}`])
      expect(counts[1]!.blocks, path).toBeGreaterThan(0)
    }
    await pull([`${server.address}/huge.car`])
  })

  it('62: a password goes to its own host alone', async () => {
    const seen: (string | undefined)[] = []
    await using server = await serveHttp((request, reply) => {
      seen.push(request.headers.authorization)
      reply.end(car)
    })
    await pull([`http://me:secret@127.0.0.1:${server.port}/x.car`])
    expect(seen).toEqual([`Basic ${Buffer.from('me:secret').toString('base64')}`])
  })

  it.each([
    'https://u:secret@/',
    'xx://u:secret@h',
    'kubo:ftp://u:secret@h/',
    'https://u:secret@[/x?sig=secret',
    'gateway:http://u%zz:secret@h',
  ])('62: does not repeat the password of %s', (source) => {
    const message = (() => {
      try {
        return sourcesOf([source]).map(({ name }) => name)[0]
      } catch (error) {
        return (error as Error).message
      }
    })()
    expect(message).toMatch(/^Cannot use/)
    expect(message).not.toContain('secret')
  })

  it.each([
    ['ar://short', /43 characters of a transaction/],
    ['ipfs://nonsense', /it is not a CID/],
    ['fil://', /it is not a CID/],
    ['ceramic://no', /give the StreamID/],
    ['file://host/x', /give a whole path|host/],
    ['https://', /is not a URL/],
    ['ftp://example.org/x', /give kubo:URL/],
    ['gateway:http://a%zz@host', /not percent-encoded/],
  ])('does not know %s', (source, text) => {
    expect(() => sourcesOf([source])).toThrow(expect.objectContaining({ code: 'BAD_USAGE', message: expect.stringMatching(text) }))
  })

  describe('noted in a store', () => {
    const note = (store: Store, ...uris: string[]) => addLocations(store, cid, uris)

    it('is tried in order where no sources are given, and goes with the asset', async () => {
      await using other = await temporary()
      const store = await openStore(`${other.path}/store`)
      const uris = [`${served.gateway.address}/nothing/here`, served.gateway.address]
      expect(await note(store, ...uris)).toEqual(uris)
      expect(await note(store, uris[1]!)).toEqual(uris)
      const names = (brokers: readonly { name: string }[]) => brokers.map(({ name }) => name)
      expect(names(await sourcesFor(cid, store))).toEqual(uris.map((uri) => `gateway ${uri}`))
      expect(names(await sourcesFor(cid, store, ['x.car']))).toEqual(['x.car'])
      const retriever = new Retriever(await sourcesFor(cid, store), { rest: 1 })
      await pullAsset(CID.parse(cid), { store, blocks: (cid, options) => retriever.block(cid, options) })
      await retriever.close()
      expect(await removeLocations(store, cid, [uris[0]!, 'https://not.there'])).toEqual([uris[1]])
      expect(await store.locations(cid)).toEqual([uris[1]])
      await store.remove(cid)
      expect(await store.locations(cid)).toEqual([])
    })

    it('asks a later one only for what the first does not have, and for no CAR that comes as a whole', async () => {
      await using other = await temporary()
      const store = await openStore(`${other.path}/store`)
      await using whole = await serveHttp((_, reply) => reply.end(car))
      await using second = await serveHttp((_, reply) => reply.writeHead(404).end())
      await note(store, `${whole.address}/x.car`, served.gateway.address, second.address)
      const env = { MODULE_ASSETS_SOURCES: `${second.address}/more` }
      const brokers = await sourcesFor(cid, store, undefined, env)
      expect(brokers.map(({ rank, name }) => [rank, name])).toEqual([
        [0, `gateway ${served.gateway.address}`],
        [1, `gateway ${second.address}`],
        [2, `car ${whole.address}/x.car`],
        [3, `gateway ${second.address}/more`],
      ])
      const retriever = new Retriever(brokers, { patience: 60_000, rest: 1 })
      const { fetched } = await pullAsset(CID.parse(cid), { store, blocks: (cid, options) => retriever.block(cid, options) })
      expect(retriever.counts()[0]).toMatchObject({ blocks: fetched.blocks })
      await retriever.close()
      expect([...whole.asked, ...second.asked]).toEqual([])
      expect(
        (await sourcesFor(cid, store, [`${whole.address}/x.car`, 'x.car', served.gateway.address])).map(({ rank = 0 }) => rank),
      ).toEqual([1, 0, 0])
    })

    it('59: a CAR is gone on with by the next pull, in the store, where nothing of it stays when the asset is there', async () => {
      await using other = await temporary()
      const store = await openStore(`${other.path}/store`)
      let sent = 0
      let isWhole = false
      await using server = await serveHttp(({ headers }, reply) => {
        const start = headers['if-range'] === '"one"' ? Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')![1]) : 0
        const bytes = car.subarray(start, isWhole ? undefined : Math.max(start, car.byteLength / 2))
        sent += bytes.byteLength
        reply.writeHead(start > 0 ? 206 : 200, {
          etag: '"one"',
          'content-length': car.byteLength - start,
          'content-range': `bytes ${start}-${car.byteLength - 1}/${car.byteLength}`,
        })
        if (isWhole) reply.end(bytes)
        else reply.write(bytes, () => setTimeout(() => reply.destroy(), 30))
      })
      const once = async () => {
        const retriever = new Retriever(await sourcesFor(cid, store, [`${server.address}/x.car`]), { rest: 1 })
        return pullAsset(CID.parse(cid), { store, blocks: (cid, options) => retriever.block(cid, options) }).finally(() =>
          retriever.close(),
        )
      }
      await expect(once()).rejects.toMatchObject({ code: 'IO' })
      await expect(once()).rejects.toMatchObject({ code: 'IO' })
      expect(sent).toBeLessThan(0.6 * car.byteLength)
      isWhole = true
      await once()
      // What the cut block had is fetched twice.
      expect(sent).toBeLessThan(car.byteLength + 2 ** 20)
      expect((await readdir(store.layout.partialFan(cid)).catch(() => [])).filter((name) => name.startsWith(cid))).toEqual([])
    })

    it('is refused where it is none, has a password in it, or is too much', async () => {
      await using other = await temporary()
      const store = await openStore(`${other.path}/store`)
      for (const uri of [
        'https://[',
        'https://a:99999/x',
        'nonsense',
        'https://a b',
        `https://${'x'.repeat(2048)}`,
        'https://me:secret@example.org',
        'ftp://example.org',
      ])
        await expect(note(store, uri)).rejects.toMatchObject({ code: 'BAD_USAGE' })
      await note(store, ...Array.from({ length: 64 }, (_, i) => `https://example.org/${i}`))
      await expect(note(store, 'https://example.org/64')).rejects.toMatchObject({ code: 'LIMIT' })
      await writeFile(store.layout.locationsOf(cid), '["ipfs://x", 1]')
      await expect(store.locations(cid)).rejects.toMatchObject({ code: 'CORRUPT', message: expect.stringContaining('add them again') })
    })

    it('survives several writers at once', async () => {
      await using other = await temporary()
      const store = await openStore(`${other.path}/store`)
      const uris = Array.from({ length: 12 }, (_, i) => `https://example.org/${i}`)
      await Promise.all(uris.map((uri) => note(store, uri)))
      expect((await store.locations(cid)).toSorted()).toEqual(uris.toSorted())
    })
  })
})

describe('masset', () => {
  it('encodes folders, keeps one as an asset, and notes where it may be had', async () => {
    await using folder = await temporary()
    await folder.write('tool/run.js', 'x')
    await folder.write('tool/lib/__proto__', 'y')
    const env = { ...process.env, MODULE_ASSETS_HOME: `${folder.path}/store` }
    const masset = async (...args: string[]) => (await promisify(execFile)(process.execPath, [CLI, ...args], { env })).stdout
    const { cid, files } = JSON.parse(await masset('encode', `${folder.path}/tool`, '--json'))
    expect(Object.keys(files)).toEqual(['lib/__proto__', 'run.js'])
    expect(CID.parse(files['run.js']).multihash.digest).toEqual(new Uint8Array(createHash('sha256').update('x').digest()))
    const lines = (await masset('encode', `${folder.path}/tool`)).trimEnd().split('\n')
    expect(lines).toEqual([`${files['lib/__proto__']}  lib/__proto__`, `${files['run.js']}  run.js`, cid])
    const asset = (await masset('encode', `${folder.path}/tool`, '--store', '--name', 'tools')).trim()
    expect(JSON.parse(await masset('ls', '--json'))).toMatchObject([{ cid: asset, kind: 'function', name: 'tools', size: 2 }])
    const uri = 'https://example.org/tools.car'
    expect(await masset('locations', asset, 'add', uri)).toBe(`${uri}\n`)
    expect(JSON.parse(await masset('locations', asset, '--json'))).toEqual([uri])
    expect(await masset('locations', asset, 'remove', uri)).toBe('')
    await expect(masset('locations', asset, 'replace', uri)).rejects.toMatchObject({ code: 2 })
    await expect(masset('encode', `${folder.path}/tool`, '--name', 'x')).rejects.toMatchObject({ code: 2 })
    const store = await openStore(`${folder.path}/store`)
    await folder.write('tool/asset.json', await readFile(`${folder.path}/tool/run.js`, 'utf8'))
    await expect(encodeInto(store, `${folder.path}/tool`)).rejects.toMatchObject({
      code: 'BAD_USAGE',
      message: expect.stringContaining('one already'),
    })
    await folder.write('bad/a:b', 'x')
    await expect(encodeInto(store, `${folder.path}/bad`)).rejects.toMatchObject({ code: 'BAD_INPUT' })
  })
})
