import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { leafCid } from '../../src/core/cid.js'
import { gateway } from '../../src/transport/gateway.js'
import { kubo } from '../../src/transport/kubo.js'
import { Retriever } from '../../src/transport/retriever.js'
import { leaf, sha256 } from '../transport/made-blocks.js'
import { flood, type OddServer, oddServer, rawServer } from '../transport/odd-server.js'

const MIB = 2 ** 20
const PATIENCE = 200
const QUICK = { rest: 1 }
const RAW = { 'content-type': 'application/vnd.ipld.raw' }
const BLOCK = leaf('a block')
const OTHER = leaf('another block')

/** Asks one gateway for a block; how many times it was asked is looked at by whoever cares. */
async function ask({ url }: { url: string }, patience?: number): Promise<Uint8Array> {
  const retriever = new Retriever([gateway(url, patience)], QUICK)
  try {
    return await retriever.block(BLOCK.cid)
  } finally {
    await retriever.close()
  }
}

/** The same, beside a good one: the block must come from there. */
async function expectOther({ url }: { url: string }): Promise<void> {
  await using good = await oddServer((_, response) => response.writeHead(200, RAW).end(BLOCK.bytes))
  const retriever = new Retriever([gateway(url, PATIENCE), gateway(good.url)], { patience: 50, rest: 1 })
  expect(await retriever.block(BLOCK.cid)).toEqual(BLOCK.bytes)
  expect(retriever.counts()).toMatchObject([{ blocks: 0 }, { blocks: 1 }])
  await retriever.close()
}

describe('a hostile gateway', () => {
  it('57: wrong bytes, whole or cut, are discarded, and it is asked for nothing more', async () => {
    for (const bytes of [OTHER.bytes, BLOCK.bytes.subarray(1), new Uint8Array(0), Buffer.concat([BLOCK.bytes, BLOCK.bytes])]) {
      const headers = { ...RAW, 'content-length': bytes.byteLength }
      await using server = await oddServer((_, response) => response.writeHead(200, headers).end(bytes))
      const retriever = new Retriever([gateway(server.url)], QUICK)
      await expect(retriever.block(BLOCK.cid)).rejects.toMatchObject({ code: 'CORRUPT' })
      await expect(retriever.block(OTHER.cid)).rejects.toMatchObject({ code: 'NOT_FOUND' })
      expect(server.asked).toHaveLength(1)
      await retriever.close()
      await expectOther(server)
    }
  })

  it.each([
    ['a gateway', gateway],
    ['a Kubo node', kubo],
  ])('60: an answer of %s that may have been cut off is asked for again, but not for ever', async (_what, brokerAt) => {
    let cut = 0
    let most = 1
    await using server = await oddServer((_, response) => {
      response.writeHead(200, { ...RAW, 'transfer-encoding': 'chunked' })
      response.end(cut++ < most ? BLOCK.bytes.subarray(0, 3) : BLOCK.bytes)
    })
    const retriever = new Retriever([brokerAt(server.url)], QUICK)
    expect(await retriever.block(BLOCK.cid)).toEqual(BLOCK.bytes)
    expect(server.asked).toHaveLength(2)
    most = Number.POSITIVE_INFINITY
    await expect(retriever.block(BLOCK.cid)).rejects.toMatchObject({ name: 'AssetError' })
    await expect(retriever.block(BLOCK.cid)).rejects.toMatchObject({ code: 'NOT_FOUND' })
    expect(server.asked).toHaveLength(5)
    await retriever.close()
  })

  it.each([
    ['a gateway', gateway],
    ['a Kubo node', kubo],
  ])('60: an answer of %s whose trailer says that it broke off is asked for again, even if nothing is missing', async (_what, brokerAt) => {
    await using server = await oddServer((_, response) => {
      response.writeHead(200, { ...RAW, trailer: 'X-Stream-Error' })
      response.write(BLOCK.bytes)
      response.addTrailers({ 'X-Stream-Error': 'context canceled' })
      response.end()
    })
    const retriever = new Retriever([brokerAt(server.url)], QUICK)
    await expect(retriever.block(BLOCK.cid)).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringContaining('it broke off: context canceled'),
    })
    expect(server.asked).toHaveLength(4)
    await retriever.close()
  })

  it('57: a page for people under status 200 is no block, and no reason to distrust it for ever', async () => {
    let answers = 0
    await using server = await oddServer((_, response) => {
      if (answers++ > 1) response.writeHead(200, RAW).end(BLOCK.bytes)
      else response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<html>Log in to the hotel</html>')
    })
    expect(await ask(server)).toEqual(BLOCK.bytes)
    expect(server.asked).toHaveLength(3)
  })

  it.each([404, 410])('57: %s says that it does not have a block: it is asked once', async (status) => {
    await using server = await oddServer((_, response) => response.writeHead(status).end('no'))
    await expect(ask(server)).rejects.toMatchObject({ code: 'NOT_FOUND' })
    expect(server.asked).toHaveLength(1)
    await expectOther(server)
  })

  it.each([
    [429, { 'retry-after': '1' }],
    [429, { 'retry-after': 'Wed, 21 Oct 2065 07:28:00 GMT' }],
    [429, { 'retry-after': '-1e99' }],
    [503, {}],
    [500, {}],
    [206, RAW],
    [304, {}],
  ])('57: %s is waited for, and asked again', async (status, headers) => {
    let answers = 0
    await using server = await oddServer((_, response) => {
      if (answers++ > 0) response.writeHead(200, RAW).end(BLOCK.bytes)
      else response.writeHead(status, headers).end()
    })
    expect(await ask(server)).toEqual(BLOCK.bytes)
    expect(server.asked).toHaveLength(2)
  })

  const stalls: Record<string, (server: OddServer['asked'], response: import('node:http').ServerResponse) => unknown> = {
    'never answers': () => undefined,
    'stops after the head': (_, response) => response.writeHead(200, RAW).flushHeaders(),
    'stops in the middle': (_, response) => response.writeHead(200, { ...RAW, 'content-length': 7 }).write('a b'),
    'sends a byte now and then': (_, response) => {
      response.writeHead(200, RAW)
      const timer = setInterval(() => (response.destroyed ? clearInterval(timer) : response.write('x')), 20)
    },
  }
  it.each(Object.entries(stalls))('57: one that %s is given up, and another one asked meanwhile', async (_, stall) => {
    await using server = await oddServer((_request, response) => stall(server.asked, response))
    await expect(ask(server, PATIENCE)).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringContaining('made no progress for 0.2 s'),
    })
    expect(server.asked).toHaveLength(4)
    await expectOther(server)
  })

  it('39: a block above its limit is cut off while it comes, whatever the head says of it', async () => {
    for (const headers of [RAW, { ...RAW, 'content-length': 2 ** 40 }, { ...RAW, 'transfer-encoding': 'chunked' }]) {
      await using server = await oddServer((_, response) => flood(response.writeHead(200, headers)))
      await expect(ask(server)).rejects.toMatchObject({ code: 'LIMIT', message: expect.stringContaining(`more than ${MIB} bytes`) })
      expect(server.asked).toHaveLength(1)
      // What the system's buffers take in on the way comes on top.
      expect(server.sent()).toBeLessThan(32 * MIB)
      await expectOther(server)
    }
  })

  it('58: a compressed body is not unpacked', async () => {
    const bomb = gzipSync(Buffer.alloc(64 * MIB))
    for (const encoding of ['gzip', 'br', 'gzip, gzip, gzip']) {
      await using server = await oddServer((_, response) => response.writeHead(200, { ...RAW, 'content-encoding': encoding }).end(bomb))
      await expect(ask(server)).rejects.toMatchObject({ code: 'IO', message: expect.stringContaining('compressed body') })
      expect(server.asked[0]!.headers['accept-encoding']).toBe('identity')
      await expectOther(server)
    }
  })

  it('58: a redirect to a private address, to another scheme, or in a circle is not followed', async () => {
    await using inner = await oddServer((_, response) => response.writeHead(200, RAW).end(BLOCK.bytes))
    const targets = [
      `${inner.url}/ipfs/${BLOCK.cid}`,
      inner.url.replace('127.0.0.1', 'localhost'),
      inner.url.replace('127.0.0.1', '2130706433'),
      inner.url.replace('127.0.0.1', '0x7f.1'),
      inner.url.replace('127.0.0.1', '[::ffff:127.0.0.1]'),
      inner.url.replace('127.0.0.1', '[::1]'),
      'http://169.254.169.254/latest/meta-data',
      'http://10.0.0.1/',
      'http://[fd00::1]/',
      'file:///etc/passwd',
      'ftp://127.0.0.1/',
      'data:application/vnd.ipld.raw,a block',
      'http://',
    ]
    for (const location of targets) {
      await using server = await oddServer((_, response) => response.writeHead(302, { location }).end())
      await expect(ask(server)).rejects.toMatchObject({ code: 'IO', message: expect.stringContaining('which is not followed') })
    }
    expect(inner.asked).toEqual([])
    await using circle = await oddServer((request, response) => response.writeHead(301, { location: request.url }).end())
    await expect(ask(circle)).rejects.toThrow('it redirects more than 5 times')
    await expectOther(circle)
  })

  it('follows a redirect on its own host, and to a name below it; 62: to that without its password', async () => {
    await using server = await oddServer((request, response) => {
      if (request.headers.host?.startsWith('below.')) response.writeHead(200, RAW).end(BLOCK.bytes)
      else if (request.url === '/there') response.writeHead(307, { location: `http://below.localhost:${server.port}/` }).end()
      else response.writeHead(301, { location: '/there' }).end()
    })
    const broker = gateway(`http://me:s3cr%40t@localhost:${server.port}`)
    expect(await new Retriever([broker]).block(BLOCK.cid)).toEqual(BLOCK.bytes)
    const basic = `Basic ${Buffer.from('me:s3cr@t').toString('base64')}`
    expect(server.asked.map(({ path, headers }) => [path, headers.authorization])).toEqual([
      [`/ipfs/${BLOCK.cid}?format=raw`, basic],
      ['/there', basic],
      ['/', undefined],
    ])
    expect(broker.name).toBe(`gateway http://localhost:${server.port}`)
  })

  it('62: no message shows a password', async () => {
    await using server = await oddServer((_, response) => response.writeHead(401).end())
    const retriever = new Retriever([gateway(server.url.replace('//', '//me:s3cret@'))], QUICK)
    const error = await retriever.block(BLOCK.cid).catch((reason: Error) => reason)
    expect(error).toBeInstanceOf(Error)
    expect(`${(error as Error).stack} ${JSON.stringify(retriever.counts())}`).not.toContain('s3cret')
    expect(() => gateway('htp://me:s3cret@host')).toThrow('Cannot use the address "htp://host"')
  })

  it('57: an answer that is cut, or no HTTP at all, is an error; a head without end is not read to its end', async () => {
    const answers: Record<string, (socket: import('node:net').Socket) => unknown> = {
      'closes at once': (socket) => socket.destroy(),
      'is no web server': (socket) => socket.end('220 mail.example.org ESMTP\r\n'),
      'cuts the body': (socket) => socket.end(`HTTP/1.1 200 OK\r\ncontent-type: ${RAW['content-type']}\r\ncontent-length: 7\r\n\r\na b`),
      'cuts the chunks': (socket) => socket.end(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7\r\na bl`),
      'has two lengths': (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 7\r\ncontent-length: 8\r\n\r\na block!'),
      'sends a head without end': (socket) => {
        socket.write('HTTP/1.1 200 OK\r\nx: ')
        flood(socket)
      },
    }
    for (const answer of Object.values(answers)) {
      await using server = await rawServer(answer)
      await expect(ask(server)).rejects.toMatchObject({ code: 'IO' })
      expect(server.sent()).toBeLessThan(64 * MIB)
      await expectOther(server)
    }
  })

  it('57: a gateway that is not there is said to be not there', async () => {
    const { url } = await oddServer(() => undefined).then(async (server) => {
      await server[Symbol.asyncDispose]()
      return server
    })
    await expect(ask({ url })).rejects.toThrow(
      `Cannot get the block ${BLOCK.cid}: Cannot get an answer of ${url}: nothing answers there (connection refused); try again or name another source`,
    )
  })

  it('is cancelled in the middle of an answer, and ends the connection', async () => {
    const controller = new AbortController()
    let closed: Promise<unknown> | undefined
    await using server = await oddServer((request, response) => {
      closed = new Promise((resolve) => request.socket.on('close', resolve))
      response.writeHead(200, RAW).write('a b', () => controller.abort())
    })
    const retriever = new Retriever([gateway(server.url)])
    await expect(retriever.block(BLOCK.cid, { signal: controller.signal })).rejects.toMatchObject({ code: 'ABORTED' })
    await closed
  })

  it('keeps its connections, also where it does not have a block', async () => {
    const sockets = new Set<unknown>()
    await using server = await oddServer((request, response) => {
      sockets.add(request.socket)
      if (request.url!.includes(String(BLOCK.cid))) response.writeHead(200, RAW).end(BLOCK.bytes)
      else response.writeHead(404, { 'content-length': 2 }).end('no')
    })
    const retriever = new Retriever([gateway(server.url)])
    for (let time = 0; time < 5; time++) {
      await retriever.block(BLOCK.cid)
      await retriever.block(leafCid(sha256(Buffer.from([time])))).catch(() => undefined)
    }
    expect(server.asked).toHaveLength(10)
    expect(sockets.size).toBe(1)
    await retriever.close()
  })
})
