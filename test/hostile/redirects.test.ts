import dns, { type LookupAddress } from 'node:dns'
import { syncBuiltinESMExports } from 'node:module'
import { isIP } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { publicLookup, redirectKind } from '../../src/transport/addresses.js'
import { gateway } from '../../src/transport/gateway.js'
import { Retriever } from '../../src/transport/retriever.js'
import { leaf } from '../transport/made-blocks.js'
import { oddServer } from '../transport/odd-server.js'

const BLOCK = leaf('a block')
const RAW = { 'content-type': 'application/vnd.ipld.raw' }

/** What names stand for while a test runs: a resolver of which whoever owns a name has a say. */
const names = new Map<string, string>()
const real = dns.lookup

beforeEach(() => {
  const lookup = (host: string, options: dns.LookupAllOptions, done: (error: Error | null, found: unknown, family?: number) => void) => {
    const address = names.get(host)
    if (address === undefined) return real(host, options, done as never)
    const found: LookupAddress = { address, family: isIP(address) }
    setImmediate(() => (options.all ? done(null, [found]) : done(null, address, found.family)))
  }
  dns.lookup = lookup as never
  syncBuiltinESMExports()
})
afterEach(() => {
  names.clear()
  dns.lookup = real
  syncBuiltinESMExports()
})

describe('a redirect', () => {
  it.each(['below.gateway.example', 'other.example'])(
    '58: to %s, a name of a private address, is not followed: nobody connects there',
    async (name) => {
      names.set('gateway.example', '127.0.0.1').set(name, '127.0.0.1')
      await using server = await oddServer(({ headers }, response) => {
        if (headers.host!.startsWith('gateway.')) response.writeHead(302, { location: `http://${name}:${server.port}/admin` }).end()
        else response.writeHead(200, RAW).end(BLOCK.bytes)
      })
      const retriever = new Retriever([gateway(`http://gateway.example:${server.port}`)], { rest: 1 })
      await expect(retriever.block(BLOCK.cid)).rejects.toMatchObject({
        code: 'IO',
        message: expect.stringContaining(`Cannot follow a redirect to ${name}: it is not on the public internet`),
      })
      expect(new Set(server.asked.map(({ headers }) => headers.host))).toEqual(new Set([`gateway.example:${server.port}`]))
      await retriever.close()
    },
  )

  it('58: within the host that was named is followed, whatever its address', async () => {
    names.set('gateway.example', '127.0.0.1')
    await using server = await oddServer(({ url }, response) => {
      if (url === '/there') response.writeHead(200, RAW).end(BLOCK.bytes)
      else response.writeHead(302, { location: '/there' }).end()
    })
    const retriever = new Retriever([gateway(`http://gateway.example:${server.port}`)], { rest: 1 })
    expect(await retriever.block(BLOCK.cid)).toEqual(BLOCK.bytes)
    await retriever.close()
  })

  const lookedUp = (host: string) =>
    new Promise<unknown>((resolve) => publicLookup(host, { all: true }, (error, found) => resolve(error ?? found)))

  it.each([
    ...['127.0.0.1', '10.1.2.3', '169.254.169.254', '192.168.1.1', '100.64.0.1', '0.0.0.0', '::1', '::', '::127.0.0.1'],
    ...[
      '::ffff:127.0.0.1',
      '::ffff:0:127.0.0.1',
      '64:ff9b::7f00:1',
      '2002:7f00:1::',
      '2001:0:4136::1',
      '100::1',
      'fd00::1',
      'fe80::1',
      'ff02::1',
    ],
  ])('58: to a name of %s is not on the public internet', async (address) => {
    names.set('name.example', address)
    expect(await lookedUp('name.example')).toBeInstanceOf(Error)
    const host = isIP(address) === 6 ? `[${address}]` : address
    expect(redirectKind(new URL('http://gateway.example'), new URL(`http://${host}/`))).toBe('refused')
  })

  it.each(['8.8.8.8', '2606:4700::1111', '2a00:1450:4001::1'])('to a name of %s is on it', async (address) => {
    names.set('name.example', address)
    expect(await lookedUp('name.example')).toEqual([{ address, family: isIP(address) }])
    const host = isIP(address) === 6 ? `[${address}]` : address
    expect(redirectKind(new URL('http://gateway.example'), new URL(`http://${host}/`))).toBe('public')
  })
})
