import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http'
import { connect } from 'node:net'
import { CarReader } from '@ipld/car'
import * as dagPb from '@ipld/dag-pb'
import { UnixFS } from 'ipfs-unixfs'
import { CID } from 'multiformats/cid'
import { identity } from 'multiformats/hashes/identity'
import { sha256 as hash } from 'multiformats/hashes/sha2'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeInto, openStore } from '../../src/api/index.js'
import { openAsset } from '../../src/store/open-asset.js'
import { temporary } from '../sources/files.js'
import { noise } from '../transport/assets.js'
import { serve, serveShapes } from './shapes.js'

const MIB = 1024 * 1024
const ABSENT = 'bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi'

/** Asks without a library in between that adds headers of its own. */
async function ask(address: string, path: string, options: RequestOptions = {}): Promise<{ sent: ClientRequest; reply: IncomingMessage }> {
  const sent = request(address + path, options).end()
  const [reply] = (await once(sent, 'response')) as [IncomingMessage]
  return { sent, reply }
}

const bodyOf = async (reply: Response) => Buffer.from(await reply.arrayBuffer())
const sha256 = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest()

describe('the gateway', () => {
  let folder: Awaited<ReturnType<typeof temporary>>
  let served: Awaited<ReturnType<typeof serveShapes>>
  const url = (rest: string) => `${served.gateway.address}/ipfs/${rest}`
  beforeAll(async () => {
    folder = await temporary()
    served = await serveShapes(folder.path)
  })
  afterAll(async () => {
    await served?.gateway.close()
    await folder?.[Symbol.asyncDispose]()
  })

  it('sends each block of an asset as what its CID says, and all of them in one CAR, those before that link to them', async () => {
    const car = await CarReader.fromIterable((await fetch(url(`${served.cid}?format=car`))).body as AsyncIterable<Uint8Array>)
    expect((await car.getRoots()).map(String)).toEqual([served.cid])
    let count = 0
    for await (const { cid, bytes } of car.blocks()) {
      expect(Buffer.compare(sha256(bytes), cid.multihash.digest)).toBe(0)
      const alone = count++ % 97 === 0 ? await bodyOf(await fetch(url(`${cid}?format=raw`))) : undefined
      if (alone) expect(Buffer.compare(alone, bytes)).toBe(0)
    }
    expect(count).toBeGreaterThan(5000)
    expect(served.problems).toEqual([])
  })

  it('knows a CID in every spelling, also that of version 0', async () => {
    const cid = CID.parse(served.cid)
    const v0 = CID.createV0(cid.multihash as never)
    expect(await bodyOf(await fetch(url(`${v0}?format=raw`)))).toEqual(await bodyOf(await fetch(url(`${cid}?format=raw`))))
    expect((await fetch(url(`${cid}/?format=raw`))).status).toBe(200)
  })

  it.each([
    ['nothing that can be verified', '', 406, /ask for \?format=raw or \?format=car/],
    ['files', '?format=tar', 406, /"tar" is not offered/],
    ['a name instead of a CID', '/../../etc/passwd?format=raw', 404, /ask for \/ipfs\/CID/],
    ['what is not percent-encoded', '/%E0%A4?format=car', 400, /percent-encoded/],
    ['a path that leads nowhere', '/in%20folders/nothing?format=car', 404, /no such file or folder/],
    ['a path through a file of many leaves', '/in%20folders/twice/x?format=car', 404, /no such file or folder/],
    ['a path through a small file', '/one/x?format=car', 404, /no such file or folder/],
    ['a path with slashes in a name', '/in%20folders%2Ftwice?format=car', 404, /no such file or folder/],
    ['a path of endless depth', `${'/x'.repeat(2000)}?format=car`, 400, /more than 256 parts/],
    ['a block by its path', '/one?format=raw', 400, /its own CID/],
  ])('refuses %s', async (_what, rest, status, text) => {
    const { reply } = await ask(served.gateway.address, `/ipfs/${served.cid}${rest}`, { headers: { accept: '*/*' } })
    const body = (await reply.toArray()).join('')
    expect([reply.statusCode, reply.headers['cache-control'], body]).toEqual([status, 'no-store', expect.stringMatching(text)])
    expect(body).toMatch(/^Cannot [^\n]+\n$/)
  })

  it('refuses what does not say what it wants, other methods, bodies, long heads, and what is not there', async () => {
    const { address } = served.gateway
    const statusOf = async (path: string, options?: RequestOptions) => (await ask(address, path, options)).reply.statusCode
    expect(await statusOf(`/ipfs/${served.cid}`)).toBe(400)
    const post = await ask(address, `/ipfs/${served.cid}?format=raw`, { method: 'POST' })
    expect(post.reply).toMatchObject({ statusCode: 405, headers: { allow: 'GET, HEAD', connection: 'close' } })
    expect(await statusOf('/ipfs/x', { headers: { 'content-length': '5' } })).toBe(413)
    expect(await statusOf('/ipfs/x', { headers: { 'x-long': 'x'.repeat(20_000) } })).toBe(431)
    expect(await statusOf(`/ipfs/${ABSENT}?format=raw`)).toBe(404)
    expect(await statusOf(`/ipfs/${ABSENT}?format=car`, { method: 'HEAD' })).toBe(404)
    expect(await statusOf(`/ipfs/${ABSENT}?format=raw`, { headers: { 'cache-control': 'only-if-cached' } })).toBe(412)
    expect(await statusOf(`/ipfs/${CID.createV1(0x55, CID.parse('bafkqaaa').multihash)}?format=raw`)).toBe(200)
    const identity = (codec: number, bytes: Uint8Array) =>
      CID.createV1(codec, {
        ...CID.parse('bafkqaaa').multihash,
        size: bytes.length,
        digest: bytes,
        bytes: Buffer.from([0, bytes.length, ...bytes]),
      } as never)
    expect(await statusOf(`/ipfs/${identity(0x55, Buffer.from('hi'))}?format=raw`)).toBe(200)
    expect(await statusOf(`/ipfs/${identity(0x70, Buffer.from('hi'))}/x?format=car`)).toBe(404)
    expect(await statusOf('/ipns/example.org?format=raw')).toBe(404)
    expect(await statusOf('/')).toBe(404)
    expect(served.problems).toEqual([])
  })

  it('65: answers neither under a name that leads to loopback nor to a page of another site', async () => {
    const { address } = served.gateway
    const path = `/ipfs/${served.cid}?format=raw`
    const statusOf = async (headers: Record<string, string>) => (await ask(address, path, { headers })).reply.statusCode
    expect(await statusOf({ host: 'evil.example:80' })).toBe(403)
    expect(await statusOf({ host: '127.0.0.1.evil.example' })).toBe(403)
    expect(await statusOf({ origin: 'https://evil.example' })).toBe(403)
    expect(await statusOf({ origin: 'null' })).toBe(403)
    expect(await statusOf({ host: 'localhost:1' })).toBe(200)
    expect(await statusOf({ host: '[::1]' })).toBe(200)
    expect(await statusOf({ origin: address })).toBe(200)
  })

  it('says that nothing changed to whoever has it', async () => {
    for (const format of ['raw', 'car', 'car&dag-scope=block']) {
      const place = url(`${served.cid}?format=${format}`)
      const etag = (await fetch(place)).headers.get('etag')!
      for (const known of [etag, `"x", ${etag}`, '*', etag.startsWith('W/') ? etag.slice(2) : `W/${etag}`]) {
        const { reply } = await ask(place, '', { headers: { 'if-none-match': known } })
        expect([reply.statusCode, reply.headers.etag, (await reply.toArray()).length]).toEqual([304, etag, 0])
      }
      expect((await fetch(place, { headers: { 'if-none-match': '"another"' } })).status).toBe(200)
    }
    const tags = await Promise.all(
      ['', '&dag-scope=entity', '&dag-scope=block', '&entity-bytes=0:5', '&entity-bytes=0:*', '&car-dups=y'].map(async (query) =>
        (await fetch(url(`${served.cid}?format=car${query}`), { method: 'HEAD' })).headers.get('etag'),
      ),
    )
    expect(new Set(tags).size).toBe(tags.length)
  })

  it('takes a range only of what the client has begun with', async () => {
    const place = url(`${served.cid}?format=raw`)
    const etag = (await fetch(place)).headers.get('etag')!
    const ranged = (condition: string) => fetch(place, { headers: { range: 'bytes=1-2', 'if-range': condition } })
    expect([(await ranged(etag)).status, (await ranged('"another"')).status]).toEqual([206, 200])
    expect((await fetch(place, { headers: { range: 'bytes=2-1' } })).status).toBe(200)
    expect((await fetch(place, { headers: { range: 'bytes=0-1,4-5' } })).status).toBe(200)
  })

  it('finds what comes into the store while it runs, and a file that another asset keeps when its own is removed', async () => {
    await using other = await temporary()
    await other.write('both', Buffer.alloc(2 * MIB, 7))
    await other.write('one', 'one')
    const first = await encodeInto(served.store, other.path)
    await other.write('one', 'two')
    const second = await encodeInto(served.store, other.path)
    const statusOf = async (rest: string) => (await fetch(url(rest))).status
    await using asset = await openAsset(second, async () => served.store)
    const { cid } = asset.manifest.files.get('both')!
    await using reader = (await serve(served.store)).gateway
    expect((await fetch(`${reader.address}/ipfs/${cid}?format=car`)).status).toBe(200)
    await reader.close()
    // Nobody but this gateway has it in use for a while after, so it is another that is asked.
    await served.store.remove(first)
    expect([await statusOf(`${cid}?format=car`), await statusOf(`${first}?format=raw`)]).toEqual([200, 404])
  })

  it('54: keeps what it is sending from being removed, lets go of it when the client is gone', async () => {
    await using other = await temporary()
    const store = await openStore(`${other.path}/store`)
    await other.write('folder/large', Buffer.alloc(64 * MIB, 'large'))
    const cid = await encodeInto(store, `${other.path}/folder`)
    const { gateway, problems } = await serve(store)
    const { sent, reply } = await ask(gateway.address, `/ipfs/${cid}?format=car`)
    await once(reply, 'readable')
    await expect(store.remove(cid)).rejects.toMatchObject({ code: 'IN_USE' })
    sent.destroy()
    await gateway.close()
    expect(await store.remove(cid)).toBeGreaterThan(64 * MIB)
    expect(problems).toEqual([])
  })

  it('reads no further ahead than a slow client takes', async () => {
    await using other = await temporary()
    const store = await openStore(`${other.path}/store`)
    await other.write('folder/large', Buffer.alloc(200 * MIB, 'large'))
    const cid = await encodeInto(store, `${other.path}/folder`)
    await using gateway = (await serve(store)).gateway
    const before = process.memoryUsage().arrayBuffers
    const paused = await Promise.all(Array.from({ length: 4 }, () => ask(gateway.address, `/ipfs/${cid}?format=car`)))
    await Promise.all(paused.map(({ reply }) => once(reply, 'readable')))
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setTimeout(resolve, 20))
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(40 * MIB)
    for (const { sent } of paused) sent.destroy()
  })

  it('sends each of many clients the same, however slow they are, and whatever is read into the same memory meanwhile', async () => {
    await using other = await temporary()
    const store = await openStore(`${other.path}/store`)
    await other.write('folder/large', noise(24 * MIB + 77, 1))
    await other.write('folder/small', noise(3000, 2))
    const cid = await encodeInto(store, `${other.path}/folder`)
    await using gateway = (await serve(store)).gateway
    const place = `${gateway.address}/ipfs/${cid}?format=car`
    const whole = sha256(await bodyOf(await fetch(place)))
    /** Takes all of it, but rests after so many bytes. */
    const slowly = async (every: number) => {
      const { reply } = await ask(place, '')
      const hash = createHash('sha256')
      let left = every
      for await (const chunk of reply as AsyncIterable<Buffer>) {
        hash.update(chunk)
        left -= chunk.byteLength
        if (left > 0) continue
        left += every
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
      return hash.digest()
    }
    const digests = await Promise.all(Array.from({ length: 12 }, (_, at) => slowly((at + 1) * 300_000)))
    for (const digest of digests) expect(Buffer.compare(digest, whole)).toBe(0)
  })

  it('answers those who wait when others are done, however many ask at once', async () => {
    const replies = await Promise.all(
      Array.from({ length: 300 }, async () => sha256(await bodyOf(await fetch(url(`${served.cid}/leaf?format=car`)))).toString('hex')),
    )
    expect(new Set(replies).size).toBe(1)
  })

  it('answers one connection one request after the other, so that it holds one place, and cuts one of too many', async () => {
    const { host, port, hostname } = new URL(served.gateway.address)
    const head = `GET /ipfs/${served.cid}/leaf?format=car HTTP/1.1\r\nHost: ${host}\r\n\r\n`
    await using gateway = (await serve(served.store)).gateway
    const greedy = connect(Number(new URL(gateway.address).port), hostname).on('error', () => undefined)
    await once(greedy, 'connect')
    greedy.write(head.replace(host, new URL(gateway.address).host).repeat(300))
    await once(greedy, 'close')
    const polite = connect(Number(port), hostname)
    polite.write(head.repeat(9) + head.replace('Host', 'Connection: close\r\nHost'))
    let answers = ''
    for await (const chunk of polite)
      answers +=
        String(chunk)
          .match(/HTTP\/1.1 200/g)
          ?.join('') ?? ''
    expect(answers).toBe('HTTP/1.1 200'.repeat(10))
    // Never read: its replies wait for one another.
    const paused = connect(Number(port), hostname)
    paused.pause()
    paused.write(head.repeat(16))
    expect((await fetch(url(`${served.cid}/leaf?format=car`))).status).toBe(200)
    paused.destroy()
  })

  it('38: takes bytes of a file for no node, though they are one: nothing of what they would link to is gone through', async () => {
    await using other = await temporary()
    const leaf = dagPb.encode({ Links: [], Data: new UnixFS({ type: 'file' }).marshal() })
    let [below, node] = [CID.createV1(dagPb.code, await hash.digest(leaf)), leaf]
    await other.write('folder/0', leaf)
    for (let level = 1; level <= 8; level++) {
      const file = new UnixFS({ type: 'file' })
      for (let link = 0; link < 100; link++) file.addBlockSize(100n ** BigInt(level - 1))
      node = dagPb.encode({ Links: Array(100).fill({ Name: '', Tsize: 1, Hash: below }), Data: file.marshal() })
      below = CID.createV1(dagPb.code, await hash.digest(node))
      await other.write(`folder/${level}`, node)
    }
    const store = await openStore(`${other.path}/store`)
    await encodeInto(store, `${other.path}/folder`)
    await using gateway = (await serve(store)).gateway
    const asked = (cid: CID, rest: string) => fetch(`${gateway.address}/ipfs/${cid}?format=${rest}`)
    expect((await asked(below, 'car&dag-scope=entity')).status).toBe(404)
    expect((await asked(below, 'raw')).status).toBe(404)
    const raw = await asked(CID.createV1(0x55, below.multihash), 'raw')
    expect(await bodyOf(raw)).toEqual(Buffer.from(node))
    for (const odd of [CID.createV1(0x71, below.multihash), CID.createV1(0x55, await identity.digest(leaf.subarray(0, 3)))])
      expect((await asked(odd, 'car')).status, String(odd)).toBeLessThan(500)
  })

  it('ends when it is told to: replies under way are finished, nothing new is taken', async () => {
    const { gateway } = await serve(served.store)
    const { reply } = await ask(gateway.address, `/ipfs/${served.cid}?format=car`)
    const closed = gateway.close()
    let bytes = 0
    for await (const chunk of reply) bytes += chunk.length
    expect(bytes).toBeGreaterThan(12 * MIB)
    await closed
    await expect(fetch(gateway.address)).rejects.toThrow()
    const { port } = new URL(gateway.address)
    const [error] = await once(connect(Number(port), '127.0.0.1'), 'error')
    expect(error).toMatchObject({ code: 'ECONNREFUSED' })
  })
})
