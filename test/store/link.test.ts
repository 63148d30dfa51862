import { cp, open, readdir, readFile, rename, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import {
  exportCar,
  fragment,
  getFolder,
  importCar,
  loadModel,
  openStore,
  plan,
  pull,
  repair,
  type Store,
  verify,
} from '../../src/api/index.js'
import { leafCid } from '../../src/core/cid.js'
import { StoredBlocks } from '../../src/store/stored-blocks.js'
import { idTensor } from '../executor/assets.js'
import { choiceOf, ENGINES } from '../executor/engines.js'
import { safetensors, temporary } from '../sources/files.js'

const DEMO = fileURLToPath(new URL('../../../models/demo', import.meta.url))

/** A copy of the demo's checkpoint, linked from a store. */
async function linkedDemo() {
  const folder = await temporary()
  const checkpoint = join(folder.path, 'checkpoint')
  await cp(DEMO, checkpoint, { recursive: true })
  const store = await openStore(join(folder.path, 'store'))
  const made = await fragment(checkpoint, { store, link: true })
  const source = join(checkpoint, 'model.safetensors')
  return { folder, checkpoint, store, made, source, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() }
}

async function filesIn(folder: string): Promise<{ path: string; size: number }[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  return Promise.all(paths.map(async (path) => ({ path, size: (await stat(path)).size })))
}

const bytesIn = async (folder: string) => (await filesIn(folder)).reduce((sum, { size }) => sum + size, 0)

async function logitsOf(cid: string, store: Store, options: Parameters<typeof loadModel>[1]): Promise<ArrayLike<unknown>> {
  await using model = await loadModel(cid, { store, ...options })
  return (await model.run({ input_ids: idTensor([[5, 6, 7]]) })).logits!.data as ArrayLike<unknown>
}

describe('an asset that is linked to its checkpoint', () => {
  it('has the same CID, and no copy of the weights is written', async () => {
    await using folder = await temporary()
    const plain = await openStore(join(folder.path, 'plain'))
    const { cid } = await fragment(DEMO, { store: plain })
    await using demo = await linkedDemo()
    expect(demo.made.cid).toBe(cid)
    const { linked, copied } = demo.made
    expect(copied!.bytes).toBeLessThan(linked!.bytes / 10)
    const written = (await bytesIn(plain.path)) - (await bytesIn(demo.store.path))
    // A header of a page in base64 with where the rest is remains of each.
    expect(written).toBeGreaterThan(linked!.bytes - linked!.files * 8192)
    const names = (await filesIn(join(demo.store.path, 'files'))).map(({ path }) => path)
    expect(names.filter((name) => name.endsWith('.link')).length).toBe(linked!.files)
    expect((await readdir(join(demo.store.path, 'tmp'))).length).toBe(0)
  })

  it.each(ENGINES)('gives the same results in %s, whole and in the least memory', async (engine) => {
    await using demo = await linkedDemo()
    const plain = await openStore(join(demo.folder.path, 'plain'))
    const { cid } = await fragment(DEMO, { store: plain })
    const options = { engine: choiceOf(engine) } as const
    const wanted = await logitsOf(cid, plain, options)
    expect(await logitsOf(cid, demo.store, options)).toEqual(wanted)
    const { minimum } = await plan(cid, { store: demo.store, ...options })
    expect(await logitsOf(cid, demo.store, { ...options, memory: minimum })).toEqual(wanted)
  })

  it.each(ENGINES)('is an error in %s that names the file where that is changed, cut, or gone', async (engine) => {
    await using demo = await linkedDemo()
    const { made, store, source } = demo
    const run = () => logitsOf(made.cid, store, { engine: choiceOf(engine) })
    const fails = { code: 'CORRUPT', message: expect.stringContaining(source) }
    const { size } = await stat(source)
    const bytes = await readFile(source)
    const changed = Buffer.from(bytes)
    for (let at = 100_000; at < size; at += 4096) changed[at]! ^= 1
    await writeFile(source, changed)
    await expect(run()).rejects.toMatchObject(fails)
    expect((await verify(made.cid, { store })).damage.length).toBeGreaterThan(0)
    await writeFile(source, bytes)
    await run()
    await truncate(source, size - 1)
    await expect(run()).rejects.toMatchObject(fails)
    await writeFile(source, bytes)
    await rename(source, `${source}.away`)
    await expect(run()).rejects.toMatchObject({ message: fails.message })
    const { damage } = await verify(made.cid, { store })
    expect(damage.length).toBe(made.linked!.files)
    for (const line of damage) expect(line).toContain(`which is linked to ${source}`)
  })

  it('is verified, exported, copied and served as others are', async () => {
    await using demo = await linkedDemo()
    const { made, store, folder } = demo
    expect(await verify(made.cid, { store })).toMatchObject({ cid: made.cid, damage: [] })
    await getFolder(store, made.cid, join(folder.path, 'out'))
    expect(await verify(join(folder.path, 'out'))).toMatchObject({ cid: made.cid, damage: [] })
    await exportCar(made.cid, join(folder.path, 'demo.car'), { store })
    const other = await openStore(join(folder.path, 'other'))
    await importCar(join(folder.path, 'demo.car'), { store: other })
    expect(await verify(made.cid, { store: other })).toMatchObject({ damage: [] })
    const blocks = new StoredBlocks(store)
    for (const { cid, size } of (await store.describe(made.cid)).manifest.files.values()) {
      const { leaves } = (await store.sums(String(cid), size))!
      for (let at = 0; at < leaves.byteLength; at += 32) {
        const leaf = leafCid(leaves.slice(at, at + 32))
        const held = (await blocks.hold(leaf))!
        expect((await held.block(leaf)).byteLength).toBe(Math.min(2 ** 20, size - at * 2 ** 15))
        held.release()
      }
    }
    await blocks.close()
  })

  it('shares what it is linked to with what is pulled, as long as that is there', async () => {
    await using demo = await linkedDemo()
    const { checkpoint, store, folder, made, source } = demo
    const far = await openStore(join(folder.path, 'far'))
    const named = await fragment(checkpoint, { store: far, name: 'another asset of the same weights' })
    const car = join(folder.path, 'named.car')
    await exportCar(named.cid, car, { store: far })
    expect((await pull(named.cid, { store, from: [car] })).fetched.bytes).toBeLessThan(20_000)
    expect(await verify(named.cid, { store })).toMatchObject({ damage: [] })
    await store.remove(named.cid)
    await rename(source, `${source}.away`)
    expect((await pull(named.cid, { store, from: [car] })).fetched.bytes).toBeGreaterThan(made.linked!.bytes - made.linked!.files * 4096)
    // What came is what the linked asset needs as well.
    expect(await verify(made.cid, { store })).toMatchObject({ damage: [] })
  })

  it('is repaired where what it is linked to is gone', async () => {
    await using demo = await linkedDemo()
    const { store, folder, made, source } = demo
    const car = join(folder.path, 'demo.car')
    await exportCar(made.cid, car, { store })
    await rename(source, `${source}.away`)
    await repair(made.cid, { store, from: [car] })
    expect(await verify(made.cid, { store })).toMatchObject({ damage: [] })
  })

  it('is let go of by rm and gc, which leave the checkpoint alone', async () => {
    await using demo = await linkedDemo()
    const { store, made, checkpoint, source } = demo
    const before = await readFile(source)
    await store.gc({ unfinishedAfter: 0 })
    expect(await verify(made.cid, { store })).toMatchObject({ damage: [] })
    await store.remove(made.cid)
    expect(await filesIn(join(store.path, 'files'))).toEqual([])
    expect((await readFile(source)).equals(before)).toBe(true)
    expect((await readdir(checkpoint)).sort()).toEqual((await readdir(DEMO)).sort())
  })

  it('needs its checkpoint no more when that was fragmented without links', async () => {
    await using demo = await linkedDemo()
    const { store, made, checkpoint, source } = demo
    expect((await fragment(checkpoint, { store })).cid).toBe(made.cid)
    await rename(source, `${source}.away`)
    expect(await verify(made.cid, { store })).toMatchObject({ damage: [] })
    await store.gc()
    expect((await filesIn(store.path)).filter(({ path }) => path.endsWith('.link'))).toEqual([])
  })
})

describe('linking', () => {
  it('copies what is converted, and what lies in several places, and says so', async () => {
    await using folder = await temporary()
    const store = await openStore(join(folder.path, 'store'))
    const { linked, copied } = await fragment(DEMO, { store, link: true, dtype: 'q8' })
    expect(copied!.files).toBeGreaterThan(0)
    expect(linked!.files).toBeGreaterThan(0)
    const entry = (at: number) => ({ dtype: 'F32', shape: [1024], data_offsets: [at * 4096, at * 4096 + 4096] })
    const apart = { 'a.bias': entry(0), 'b.weight': entry(1), 'a.weight': entry(2), 'c.bias': entry(3), 'c.weight': entry(4) }
    const path = await folder.write('apart.safetensors', safetensors(apart, 5 * 4096))
    const made = await fragment(path, { store, link: true })
    expect([made.linked!.files, made.copied!.files]).toEqual([2, 1])
    expect(await verify(made.cid, { store })).toMatchObject({ damage: [] })
    expect(made.cid).toBe((await fragment(path, { out: join(folder.path, 'out') })).cid)
  })

  it('is for a store alone', async () => {
    await using folder = await temporary()
    await expect(fragment(DEMO, { out: join(folder.path, 'out'), link: true })).rejects.toMatchObject({
      code: 'BAD_USAGE',
      message: 'Cannot link from a folder to where weights are: only a store can; give a store, or leave link out',
    })
  })

  it.each([
    ['not JSON', 'x'],
    ['beyond the file', JSON.stringify({ path: '/x', size: 10, offset: 5, header: '' })],
    ['with a header that is no page', JSON.stringify({ path: '/x', size: 1e9, offset: 5, header: 'AAAA' })],
    ['without a path', JSON.stringify({ size: 1e9, offset: 0, header: '' })],
  ])('53: a link that is damaged, %s, is an error', async (_, text) => {
    await using demo = await linkedDemo()
    const { store, made } = demo
    const links = (await filesIn(join(store.path, 'files'))).filter(({ path }) => path.endsWith('.link'))
    const handle = await open(links[0]!.path, 'w')
    await handle.writeFile(text)
    await handle.close()
    expect((await verify(made.cid, { store })).damage).toEqual([expect.stringMatching(/^Cannot read .*\.link: it is /)])
    await expect(logitsOf(made.cid, store, {})).rejects.toMatchObject({ code: expect.stringMatching(/CORRUPT|BAD_INPUT/) })
  })
})
