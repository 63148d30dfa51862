import { open, readdir, rm, truncate, writeFile } from 'node:fs/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { openStore, verify } from '../../src/api/index.js'
import { partialsOf } from '../../src/store/partial.js'
import type { Store } from '../../src/store/store.js'
import { pullAsset } from '../../src/transport/pull.js'
import { temporary } from '../sources/files.js'
import { folderSource, noise, type Source, sourceOf, writeAssetFolder } from './assets.js'

const MIB = 1024 * 1024
const LARGE = noise(5 * MIB + 7, 1)
const SHARED = noise(3 * MIB, 2)
const FILES = { 'modules/large': LARGE, 'modules/of/many/shared': SHARED, small: noise(1000, 3), empty: new Uint8Array(0) }

/** Blocks of the asset of `FILES`: 6 and 3 leaves below a node each, two small files, the manifest, 4 folders. */
const LEAVES = 6 + 3 + 1 + 1 + 1

const leafOf = (at: number) => LARGE.subarray(at * MIB, (at + 1) * MIB)
const sameBytes = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0

/** So many blocks begin the first file and leave some of its leaves out. */
const BEGUN = 2 + 2 + 2 + 5

let all: ReadonlyMap<string, Uint8Array>
let cid: Source['cid']
beforeAll(async () => {
  await using folder = await temporary()
  const source = await folderSource(await writeAssetFolder(folder, 'asset', FILES))
  all = source.all
  cid = source.cid
})
const fresh = (most?: number) => sourceOf(cid, new Map(all), most)

/** Files that lie below a folder of a store. */
async function filesIn(store: Store, part: 'files' | 'partial' | 'nodes' | 'tmp' | 'uses' | 'arriving'): Promise<string[]> {
  const entries = await readdir(`${store.path}/${part}`, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map(({ name }) => name)
}

const sound = async (store: Store) => {
  expect(await verify(String(cid), { store })).toMatchObject({ files: 5, damage: [] })
  expect((await store.list()).map((asset) => asset.cid)).toEqual([String(cid)])
  for (const part of ['partial', 'tmp', 'uses', 'arriving'] as const) expect(await filesIn(store, part)).toEqual([])
}

describe('pulling an asset', () => {
  it('fetches its root, its manifest, and each leaf and each node above leaves once; no other folder', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const source = fresh()
    const seen: number[] = []
    const pulled = await pullAsset(cid, { store, blocks: source.blocks, onProgress: ({ done }) => seen.push(done) })
    expect(new Set(source.asked).size).toBe(source.asked.length)
    expect(source.asked).toHaveLength(1 + LEAVES + 2)
    const bytes = source.asked.reduce((sum, key) => sum + all.get(key)!.byteLength, 0)
    expect(pulled).toMatchObject({ cid: String(cid), files: 5, fetched: { blocks: source.asked.length, bytes } })
    expect(pulled.present).toEqual({ blocks: 1, bytes: pulled.bytes - LARGE.byteLength - SHARED.byteLength - 1000 })
    expect(seen.at(-1)).toBe(pulled.bytes)
    expect(seen).toEqual(seen.toSorted((a, b) => a - b))
    await sound(store)
  })

  it('fetches nothing that is there: not a second time, and no file that another asset has', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const other = await folderSource(await writeAssetFolder(folder, 'other', { 'somewhere/else': SHARED, 'a file': noise(10, 9) }))
    await pullAsset(other.cid, { store, blocks: other.blocks })
    const source = fresh()
    expect(await pullAsset(cid, { store, blocks: source.blocks })).toMatchObject({ present: { blocks: 1 + 3 } })
    expect(source.asked).toHaveLength(1 + LEAVES + 2 - 3 - 1)
    const again = fresh()
    const { fetched, present } = await pullAsset(cid, { store, blocks: again.blocks })
    expect([again.asked, fetched, present.blocks]).toEqual([[], { blocks: 0, bytes: 0 }, LEAVES])
  })

  it('fetches a leaf that a file has many times once', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const source = await folderSource(await writeAssetFolder(folder, 'zeros', { zeros: new Uint8Array(20 * MIB + 5) }))
    await pullAsset(source.cid, { store, blocks: source.blocks })
    // root, manifest, the node above the leaves, a whole leaf and the last one
    expect(source.asked).toHaveLength(5)
    expect(await verify(String(source.cid), { store })).toMatchObject({ damage: [] })
  })

  it('that breaks off after any number of blocks goes on from there: only what is missing is fetched', async () => {
    const whole = 1 + LEAVES + 2
    for (let most = 0; most < whole; most++) {
      await using folder = await temporary()
      const store = await openStore(`${folder.path}/store`)
      const first = fresh(most)
      await expect(pullAsset(cid, { store, blocks: first.blocks })).rejects.toMatchObject({ code: 'IO' })
      expect(await store.has(String(cid))).toBe(false)
      const second = fresh()
      // another process, later
      await pullAsset(cid, { store: await openStore(store.path), blocks: second.blocks })
      const twice = first.asked.filter((key) => second.asked.includes(key))
      // what came before the asset was known at all, and a node whose file had not begun
      expect(twice.length).toBeLessThanOrEqual(most < 2 ? most : 0)
      await sound(store)
    }
  })

  it('that is cancelled says that what has arrived is kept', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const controller = new AbortController()
    const source = fresh()
    let calls = 0
    const blocks: Source['blocks'] = async (wanted, options) => {
      if (++calls > BEGUN) controller.abort()
      return source.blocks(wanted, options)
    }
    await expect(pullAsset(cid, { store, blocks, signal: controller.signal })).rejects.toMatchObject({
      code: 'ABORTED',
      message: `Cannot finish to pull ${cid}: it was cancelled; what has arrived is kept, pull it again to go on`,
    })
    const again = fresh()
    await pullAsset(cid, { store, blocks: again.blocks })
    expect(again.asked.filter((key) => source.asked.includes(key))).toEqual([])
    await sound(store)
  })

  it('trusts nothing that lies about from before: what was changed there is fetched again, and nothing else', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const first = fresh(BEGUN)
    await expect(pullAsset(cid, { store, blocks: first.blocks })).rejects.toMatchObject({ code: 'IO' })
    await using arrival = await store.arrive(String(cid), () => Promise.reject(new Error('the manifest is there')))
    const { manifest } = arrival.described
    await arrival.close()
    const [path] = await partialsOf(store.layout, String(manifest.files.get('modules/large')!.cid))
    const leaf = [0, 1, 2, 3, 4].find((at) => first.asked.some((key) => sameBytes(all.get(key)!, leafOf(at))))!
    const handle = await open(path!, 'r+')
    await handle.write(Buffer.from('changed'), 0, 7, leaf * MIB + 100)
    await handle.close()
    const again = fresh()
    await pullAsset(cid, { store, blocks: again.blocks })
    const twice = again.asked.filter((key) => first.asked.includes(key))
    expect(twice.map((key) => sameBytes(all.get(key)!, leafOf(leaf)))).toEqual([true])
    await sound(store)
  })

  it.each([
    ['cut short', (path: string) => truncate(path, 70)],
    ['overwritten', (path: string) => writeFile(path, noise(6 * 33, 5))],
    ['gone', (path: string) => rm(path)],
  ])('notes about a file that are %s cost its leaves, no more', async (_what, damage) => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    await expect(pullAsset(cid, { store, blocks: fresh(BEGUN).blocks })).rejects.toMatchObject({ code: 'IO' })
    for (const name of await filesIn(store, 'partial'))
      if (name.endsWith('.leaves')) await damage(`${store.layout.partialFan(name.split('.')[0]!)}/${name}`)
    await pullAsset(cid, { store, blocks: fresh().blocks })
    await sound(store)
  })

  it('fails without a block that is missing, lists nothing, and goes on when it is there', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const leaf = [...all.keys()].find((key) => all.get(key)!.byteLength === 7)!
    const without = sourceOf(cid, new Map([...all].filter(([key]) => key !== leaf)))
    await expect(pullAsset(cid, { store, blocks: without.blocks })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining(leaf),
    })
    expect(await store.list()).toEqual([])
    const source = fresh()
    await pullAsset(cid, { store, blocks: source.blocks })
    expect(source.asked).toContain(leaf)
    await sound(store)
  })

  it('twice at the same time in one store gives one sound asset', async () => {
    for (let round = 0; round < 5; round++) {
      await using folder = await temporary()
      const stores = await Promise.all([0, 1, 2].map(() => openStore(`${folder.path}/store`)))
      await Promise.all(stores.map((store) => pullAsset(cid, { store, blocks: fresh().blocks })))
      await sound(stores[0]!)
    }
  })

  it('mends an asset whose entry, manifest or files are gone or cut short', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    await pullAsset(cid, { store, blocks: fresh().blocks })
    const { manifest, manifestFile } = await store.describe(String(cid))
    const large = manifest.files.get('modules/large')!
    const damages: [() => Promise<void>, number][] = [
      [() => writeFile(store.layout.asset(String(cid)), '{}'), 2],
      [() => rm(store.layout.file(String(manifestFile.cid))), 2],
      [() => writeFile(store.layout.file(String(manifestFile.cid)), '{}'), 2],
      [() => rm(store.layout.file(String(large.cid))), 7],
      [() => truncate(store.layout.file(String(large.cid)), 100), 7],
      [() => rm(store.layout.sidecar(String(large.cid))), 7],
    ]
    for (const [damage, fetched] of damages) {
      await damage()
      const source = fresh()
      await pullAsset(cid, { store, blocks: source.blocks })
      expect(source.asked).toHaveLength(fetched)
      await sound(store)
    }
  })
})
