import { createHash } from 'node:crypto'
import { mkdir, open, rm, writeFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { encodeInto, openStore } from '../../src/api/index.js'
import { leafCid } from '../../src/core/cid.js'
import { openAsset } from '../../src/store/open-asset.js'
import { temporary } from '../sources/files.js'
import { serve } from './shapes.js'

const MIB = 1024 * 1024
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest()

describe('53: a store that is damaged', () => {
  /** A store with one file of five leaves, and the gateway of it. */
  async function setUp(place: string) {
    const store = await openStore(`${place}/store`)
    await mkdir(`${place}/folder/deep`, { recursive: true })
    const bytes = Buffer.alloc(5 * MIB, 0)
    for (let at = 0; at < bytes.length; at += 4096) bytes.writeUInt32LE(at, at)
    await writeFile(`${place}/folder/deep/file`, bytes)
    const cid = await encodeInto(store, `${place}/folder`)
    await using asset = await openAsset(cid, async () => store)
    const file = asset.manifest.files.get('deep/file')!
    const path = store.layout.file(String(file.cid))
    const leaves = Array.from({ length: 5 }, (_, leaf) => leafCid(sha256(bytes.subarray(leaf * MIB, (leaf + 1) * MIB))))
    return { cid, file, path, leaves, nodes: (await store.describe(cid)).nodes, ...(await serve(store)) }
  }

  const flip = async (path: string, at: number) => {
    await using handle = await open(path, 'r+')
    const byte = Buffer.alloc(1)
    await handle.read(byte, 0, 1, at)
    await handle.write(Buffer.from([byte[0]! ^ 1]), 0, 1, at)
  }

  it('sends all but what is damaged: an error for a block, a CAR that is cut off before it', async () => {
    await using folder = await temporary()
    const { cid, path, leaves, gateway, problems } = await setUp(folder.path)
    const url = (rest: string) => `${gateway.address}/ipfs/${rest}`
    await flip(path, 3 * MIB + 77)
    expect(await Promise.all(leaves.map(async (leaf) => (await fetch(url(`${leaf}?format=raw`))).status))).toEqual([
      200, 200, 200, 500, 200,
    ])
    const reply = await fetch(url(`${leaves[3]}?format=raw`))
    expect(await reply.text()).toBe('Cannot send this: it is damaged in this store; get it elsewhere\n')
    const car = await fetch(url(`${cid}?format=car`))
    let got = 0
    const readAll = async () => {
      for await (const chunk of car.body as AsyncIterable<Uint8Array>) got += chunk.length
    }
    await expect(readAll()).rejects.toThrow('terminated')
    expect(got).toBeLessThan(3 * MIB + 5000)
    expect(problems).toHaveLength(3)
    expect(problems[0]).toMatch(/^Cannot read deep\/file .*: it is damaged \(the page at byte 3145728 changed since it was stored\)/)
    // Mended, it is sent at once.
    await flip(path, 3 * MIB + 77)
    expect((await fetch(url(`${leaves[3]}?format=raw`))).status).toBe(200)
    await gateway.close()
  })

  it('hashes a file anew whose checksums are gone, and sends nothing of it if it is another', async () => {
    await using folder = await temporary()
    const { path, file, leaves, gateway, store } = await setUp(folder.path)
    await rm(`${path}.sums`)
    expect((await fetch(`${gateway.address}/ipfs/${leaves[1]}?format=raw`)).status).toBe(200)
    await gateway.close()
    await flip(path, 5)
    const again = await serve(store)
    const statusOf = async (what: unknown) => (await fetch(`${again.gateway.address}/ipfs/${what}?format=raw`)).status
    expect([await statusOf(leaves[1]), await statusOf(file.cid)]).toEqual([404, 404])
    await again.gateway.close()
  })

  it('sends neither a block of a folder that is another, nor one that is gone, nor an asset whose entry is damaged', async () => {
    await using folder = await temporary()
    const { cid, nodes, file, path, gateway, store } = await setUp(folder.path)
    const statusOf = async (what: unknown, format = 'raw') => (await fetch(`${gateway.address}/ipfs/${what}?format=${format}`)).status
    const inner = nodes.find((node) => String(node.cid) !== cid)!
    expect(await statusOf(inner.cid)).toBe(200)
    await flip(store.layout.node(String(inner.cid)), 10)
    expect([await statusOf(inner.cid), await statusOf(cid)]).toEqual([500, 200])
    await rm(store.layout.node(String(inner.cid)))
    expect([await statusOf(inner.cid), await statusOf(inner.cid, 'car')]).toEqual([500, 500])
    await rm(path)
    expect(await statusOf(file.cid, 'car')).toBe(500)
    await gateway.close()
    await writeFile(store.layout.asset(cid), 'nonsense')
    const again = await serve(store)
    expect((await fetch(`${again.gateway.address}/ipfs/${cid}?format=raw`)).status).toBe(404)
    await again.gateway.close()
  })
})
