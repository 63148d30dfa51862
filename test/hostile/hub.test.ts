import { readdir } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { fragment } from '../../src/api/index.js'
import { temporary } from '../sources/files.js'
import { type Fault, repoOf, sendRange, startHub, type TestHub, TOKEN } from '../transport/hub-server.js'
import { flood, oddServer } from '../transport/odd-server.js'

const DEMO = fileURLToPath(new URL('../../../models/demo', import.meta.url))
const repo = await repoOf(DEMO)
const WEIGHTS = repo.files.get('model.safetensors')!

afterEach(() => vi.unstubAllEnvs())

/** What fragmenting a model says where the hub or its CDN is like this; nothing may stay but what another run can go on with. */
async function outcome({
  hub: hubFault,
  cdn: cdnFault,
  env,
}: {
  hub?: Fault
  cdn?: Fault
  env?: (hub: TestHub) => Record<string, string>
}) {
  await using folder = await temporary()
  await using hub = await startHub({ 'owner/demo': repo })
  if (hubFault) hub.hubFault = hubFault
  if (cdnFault) hub.cdnFault = cdnFault
  for (const [name, value] of Object.entries({ ...hub.env(join(folder.path, 'cache')), ...env?.(hub) })) vi.stubEnv(name, value)
  const said = await fragment('hf:owner/demo', { out: join(folder.path, 'out') }).then(
    ({ cid }) => cid,
    (error: Error & { code?: string }) => `${error.code} ${error.message}`,
  )
  expect(said).not.toMatch(/secret|\n/)
  if (!said.startsWith('baf')) expect(await readdir(folder.path)).not.toContain('out')
  return { said, asked: hub.hub.asked.length + hub.cdn.asked.length, sent: hub.hub.sent() + hub.cdn.sent() }
}

const isWeights = ({ url }: IncomingMessage) => url!.includes('/resolve/') && url!.endsWith('model.safetensors')
const isApi = ({ url }: IncomingMessage, kind: string) => url!.startsWith('/api/') && url!.includes(`/${kind}/`)

/** Does it the first `times` times. */
function first(times: number, fault: (request: IncomingMessage, response: ServerResponse) => unknown): Fault {
  let left = times
  return (request, response) => {
    if (left-- <= 0) return undefined
    fault(request, response)
    return true
  }
}

async function right(): Promise<string> {
  await using folder = await temporary()
  return (await fragment(DEMO, { out: join(folder.path, 'out') })).cid
}

describe('a hub that has faults', () => {
  it('57: is asked again where it says to wait, or is broken for a moment', async () => {
    const busy = first(2, (_, response) => response.writeHead(429, { 'retry-after': '0' }).end())
    const broken = first(2, (_, response) => response.writeHead(503).end('<html>'))
    expect((await outcome({ hub: busy, cdn: broken })).said).toBe(await right())
  })

  it('57: that asks to wait for long is an error that says how long', async () => {
    const { said, asked } = await outcome({ hub: (_, response) => response.writeHead(429, { 'retry-after': '300' }).end() })
    expect(said).toMatch(/^IO Cannot read hf:owner\/demo: http:\/\/127.0.0.1:\d+ is asked too often; try again in 300 s, or set HF_TOKEN$/)
    expect(asked).toBe(1)
  })

  it('57: that cuts connections is gone on with where it was cut', async () => {
    const cut = first(3, (request, response) => {
      const [, from, to] = /bytes=(\d+)-(\d+)/.exec(request.headers.range!)!.map(Number)
      const length = to! - from! + 1
      response.writeHead(206, { 'content-length': length, 'content-range': `bytes ${from}-${to}/${WEIGHTS.byteLength}` })
      response.write(WEIGHTS.subarray(from, from! + Math.ceil(length / 2)), () => response.destroy())
    })
    const { said, sent } = await outcome({ cdn: cut })
    expect(said).toBe(await right())
    expect(sent).toBeLessThan([...repo.files.values()].reduce((sum, { byteLength }) => sum + byteLength, 0) * 1.2)
  })

  it('57: that cuts every connection is an error', async () => {
    const { said, asked } = await outcome({ cdn: (_, response) => response.destroy() })
    expect(said).toMatch(/^IO Cannot get an answer of http:\/\/127.0.0.1:\d+: the connection was cut$/)
    expect(asked).toBeLessThan(12)
  })

  it.each([
    [
      'fewer bytes than it says',
      (_: string, from: number, to: number) => ({ body: WEIGHTS.subarray(from, to), range: `bytes ${from}-${to}/${WEIGHTS.byteLength}` }),
      /^IO .*the connection was cut; try again$/,
    ],
    [
      'another range',
      (_: string, from: number, to: number) => ({
        body: WEIGHTS.subarray(from + 1, to + 2),
        range: `bytes ${from + 1}-${to + 1}/${WEIGHTS.byteLength}`,
      }),
      /^CORRUPT Cannot read model.safetensors of hf:owner\/demo: it gives bytes 1-\d+\/\d+, asked for bytes 0-\d+\/\d+; try again$/,
    ],
    [
      'a file of another size',
      (_: string, from: number, to: number) => ({
        body: WEIGHTS.subarray(from, to + 1),
        range: `bytes ${from}-${to}/${WEIGHTS.byteLength + 1}`,
      }),
      /^CORRUPT .*it gives bytes .*, asked for bytes /,
    ],
    [
      'no range at all',
      (_: string, from: number, to: number) => ({ body: WEIGHTS.subarray(from, to + 1), range: undefined }),
      /^CORRUPT .*it gives no range, asked for bytes /,
    ],
    [
      'a range that is longer',
      (_: string, from: number, to: number) => ({
        body: WEIGHTS.subarray(from, to + 2),
        range: `bytes ${from}-${to}/${WEIGHTS.byteLength}`,
      }),
      /^LIMIT Cannot take the answer of http:\/\/127.0.0.1:\d+: it has more than \d+ bytes$/,
    ],
  ] as const)('59: that gives %s is an error', async (_, make, message) => {
    const cdn: Fault = (request, response) => {
      const [, from, to] = /bytes=(\d+)-(\d+)/.exec(request.headers.range!)!.map(Number)
      const { body, range } = make('', from!, to!)
      response.writeHead(206, range === undefined ? {} : { 'content-range': range }).end(body)
      return true
    }
    expect((await outcome({ cdn })).said).toMatch(message)
  })

  it('59: that gives all of a file for a part of it is an error, and not read to its end', async () => {
    const cdn: Fault = (_, response) => {
      response.writeHead(200)
      flood(response)
      return true
    }
    const { said, sent } = await outcome({ cdn })
    expect(said).toMatch(/^CORRUPT .*it gives the whole file where a part was asked for; try again$/)
    expect(sent).toBeLessThan(16 * 1024 * 1024)
  })

  it('59: whose file changes between two ranges is an error', async () => {
    let version = 0
    const cdn: Fault = (request, response) => {
      sendRange(request, response, WEIGHTS, { etag: `"${++version}"` })
      return true
    }
    expect((await outcome({ cdn })).said).toMatch(
      /^CORRUPT Cannot read model.safetensors of hf:owner\/demo: it changed while it was read; try again$/,
    )
  })

  it.each([
    ['x-repo-commit', 'f'.repeat(40), 'it is of the commit f{40}, asked for [0-9a-f]{40}'],
    ['x-linked-size', '12', 'it has 12 bytes, the hub lists \\d+'],
    ['x-linked-etag', `"${'f'.repeat(64)}"`, 'it is another file than the hub lists'],
  ])('59: that says of a file that its %s is another is an error', async (header, value, why) => {
    const hub: Fault = (request, response) => {
      if (!isWeights(request)) return undefined
      sendRange(request, response, WEIGHTS, { [header]: value })
      return true
    }
    expect((await outcome({ hub })).said).toMatch(new RegExp(`^CORRUPT Cannot read model.safetensors of hf:owner/demo: ${why}; try again$`))
  })

  it('57: that gives other bytes for a small file is an error', async () => {
    const hub: Fault = (request, response) => {
      if (!request.url!.endsWith('/config.json')) return undefined
      const bytes = Buffer.from(repo.files.get('config.json')!)
      bytes[20]! ^= 1
      sendRange(request, response, bytes, {})
      return true
    }
    expect((await outcome({ hub })).said).toMatch(
      /^CORRUPT Cannot read config.json of hf:owner\/demo: its bytes are not those that the hub lists; try again$/,
    )
  })

  it('is asked anew for a place that is good no more', async () => {
    let served = 0
    const cdn: Fault = (_, response) => {
      served += 1
      if (served % 3 !== 0) return undefined
      response.writeHead(403).end('expired')
      return true
    }
    expect((await outcome({ cdn })).said).toBe(await right())
  })
})

describe('a hub that is hostile', () => {
  it.each([
    [
      'http://169.254.169.254/latest',
      /^BAD_INPUT Cannot read hf:owner\/demo: it redirects to http:\/\/169.254.169.254, which is not followed$/,
    ],
    ['file:///etc/passwd', /^BAD_INPUT .*it redirects to null, which is not followed$/],
    ['http://[', /^BAD_INPUT .*it redirects to what is no address, which is not followed$/],
  ])('58: that redirects to %s is not followed', async (location, message) => {
    const hub: Fault = (request, response) => (isWeights(request) ? response.writeHead(302, { location }).end() : undefined)
    expect((await outcome({ hub })).said).toMatch(message)
  })

  it('58: that redirects in a circle is left', async () => {
    const hub: Fault = (request, response) => response.writeHead(302, { location: request.url! }).end()
    const { said, asked } = await outcome({ hub })
    expect(said).toMatch(/^BAD_INPUT .*it redirects more than 5 times$/)
    expect(asked).toBe(6)
  })

  it('62: that redirects the API elsewhere gets no token there, and one that goes on elsewhere is not followed', async () => {
    await using other = await oddServer((_, response) => response.writeHead(200).end('[]'))
    const env = () => ({ HF_TOKEN: TOKEN })
    const redirect: Fault = (request, response) =>
      isApi(request, 'tree') ? response.writeHead(307, { location: `${other.url}/tree` }).end() : undefined
    expect((await outcome({ hub: redirect, env })).said).toMatch(/^NOT_FOUND Cannot open the checkpoint hf:owner\/demo@/)
    const next: Fault = (request, response) => {
      if (!isApi(request, 'tree')) return undefined
      response.writeHead(200, { 'content-type': 'application/json', link: `<${other.url}/next>; rel="next"` }).end('[]')
      return true
    }
    expect((await outcome({ hub: next, env })).said).toMatch(
      /^BAD_INPUT .*a listing of it goes on at http:\/\/127.0.0.1:\d+, which is not the hub$/,
    )
    expect(other.asked.map(({ path, headers }) => [path, headers.authorization])).toEqual([['/tree', undefined]])
  })

  it('58: that lists without an end is left', async () => {
    const hub: Fault = (request, response) => {
      if (!isApi(request, 'tree')) return undefined
      const link = `<http://${request.headers.host}${request.url}>; rel="next"`
      response.writeHead(200, { 'content-type': 'application/json', link }).end('[]')
      return true
    }
    const { said, asked } = await outcome({ hub })
    expect(said).toBe('LIMIT Cannot list hf:owner/demo: it takes more than 200 answers')
    expect(asked).toBe(201)
  })

  it('58: that answers without an end is left', async () => {
    const hub: Fault = (request, response) => {
      if (!isApi(request, 'revision')) return undefined
      response.writeHead(200, { 'content-type': 'application/json' })
      flood(response)
      return true
    }
    const { said, sent } = await outcome({ hub })
    expect(said).toMatch(/^LIMIT Cannot take the answer of .*: it has more than 16777216 bytes$/)
    expect(sent).toBeLessThan(64 * 1024 * 1024)
  })

  it.each([
    ['<html>', /^BAD_INPUT Cannot read what http:\/\/127.0.0.1:\d+ says of hf:owner\/demo: it is not valid UTF-8 JSON/],
    ['['.repeat(1000), /^LIMIT .*it is nested deeper than 100$/],
    ['null', /^BAD_INPUT .*the hub's answer makes no sense/],
    ['{"sha":"main"}', /^BAD_INPUT .*the hub says no commit of it$/],
    ['{"sha":"../../../x"}', /^BAD_INPUT .*the hub says no commit of it$/],
  ])('57: that says %.20s of a model is an error', async (body, message) => {
    const hub: Fault = (request, response) =>
      isApi(request, 'revision') ? response.writeHead(200, { 'content-type': 'application/json' }).end(body) : undefined
    expect((await outcome({ hub })).said).toMatch(message)
  })

  const digest = 'a'.repeat(40)
  it.each([
    ['{}', /^BAD_INPUT .*the hub's answer makes no sense/],
    ['[null]', /^BAD_INPUT .*the hub's answer makes no sense \(an entry is no object\)$/],
    [
      JSON.stringify([{ type: 'file', path: 'model.safetensors', oid: digest, size: -1 }]),
      /^BAD_INPUT .*"model.safetensors" has no size\)$/,
    ],
    [
      JSON.stringify([{ type: 'file', path: 'model.safetensors', oid: digest, size: 2 ** 60 }]),
      /^BAD_INPUT .*"model.safetensors" has no size\)$/,
    ],
    [JSON.stringify([{ type: 'file', path: 'model.safetensors', oid: 'x', size: 1 }]), /^BAD_INPUT .*"model.safetensors" has no digest\)$/],
    [
      JSON.stringify([{ type: 'file', path: '../model.safetensors', oid: digest, size: 1 }]),
      /^NOT_FOUND Cannot open the checkpoint hf:owner\/demo@[0-9a-f]+: it has none of /,
    ],
    [JSON.stringify([{ type: 'file', path: 'model.safetensors', oid: digest, size: 2 ** 50 }]), /^CORRUPT .*it gives bytes/],
  ])('57: that lists %.80s is an error', async (body, message) => {
    const hub: Fault = (request, response) =>
      isApi(request, 'tree') ? response.writeHead(200, { 'content-type': 'application/json' }).end(body) : undefined
    expect((await outcome({ hub })).said).toMatch(message)
  })

  it.each(['ftp://x', 'not an address', 'http://user:secret@hub', 'http://hub/?a=secret'])(
    'with the address %s is refused',
    async (HF_ENDPOINT) => {
      expect((await outcome({ env: () => ({ HF_ENDPOINT }) })).said).toMatch(
        /^BAD_USAGE Cannot use HF_ENDPOINT .*: give an address such as https:\/\/huggingface.co, without a password$/,
      )
    },
  )

  it('that is not there is an error that says so', async () => {
    const gone = await oddServer(() => undefined)
    await gone[Symbol.asyncDispose]()
    const { said } = await outcome({ env: () => ({ HF_ENDPOINT: gone.url }) })
    expect(said).toMatch(/^IO Cannot get an answer of http:\/\/127.0.0.1:\d+: nothing answers there \(connection refused\)$/)
  })
})
