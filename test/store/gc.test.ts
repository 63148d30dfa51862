import { spawn } from 'node:child_process'
import { mkdir, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { CID } from 'multiformats/cid'
import { describe, expect, it } from 'vitest'
import { openStore, verify } from '../../src/api/index.js'
import type { Store } from '../../src/store/store.js'
import { pullAsset, repairAsset } from '../../src/transport/pull.js'
import { blocksIn, writeBlocks } from '../hostile/blocks-on-disk.js'
import { moduleHere, runChild } from '../hostile/children.js'
import type { Upkeep } from '../hostile/upkeep.js'
import { temporary } from '../sources/files.js'
import { folderSource, noise, type Source, sourceOf, writeAssetFolder } from '../transport/assets.js'

const API = new URL('../../src/api/index.js', import.meta.url).href
const MIB = 1024 * 1024
const LONG_AGO = new Date(Date.now() - 30 * 24 * 3600 * 1000)
type Folder = Awaited<ReturnType<typeof temporary>>

/** All files of a store, by their paths in it. */
async function filesOf(store: Store): Promise<string[]> {
  const entries = await readdir(store.path, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.parentPath}/${entry.name}`.slice(store.path.length + 1))
    .sort()
}

async function makeOld(store: Store): Promise<void> {
  for (const path of await filesOf(store)) await utimes(`${store.path}/${path}`, LONG_AGO, LONG_AGO)
}

const assetOf = async (folder: Folder, name: string, files: Record<string, Uint8Array>) =>
  folderSource(await writeAssetFolder(folder, name, files))

/** Begins to pull and breaks off after so many blocks. */
async function begin(store: Store, { cid, all }: Source, blocks: number): Promise<void> {
  await expect(pullAsset(cid, { store, blocks: sourceOf(cid, all, blocks).blocks })).rejects.toMatchObject({ code: 'IO' })
}

describe('collecting garbage', () => {
  it('takes nothing that listed assets need, and all that nobody does, and says how much; a dry run only says it', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const asset = await assetOf(folder, 'asset', { 'a/b': noise(MIB + 5, 1), c: noise(9, 2) })
    await pullAsset(asset.cid, { store, blocks: asset.blocks })
    const kept = await filesOf(store)
    expect(await store.gc()).toEqual({ freed: 0, files: 0, unfinished: [] })
    const other = await assetOf(folder, 'other', { 'a/b': noise(MIB + 5, 1), d: noise(5000, 3) })
    await pullAsset(other.cid, { store, blocks: other.blocks })
    // as a removal leaves it that a crash ended early, and a writer that was killed
    await rm(store.layout.asset(String(other.cid)))
    await writeFile(`${store.layout.asset(String(other.cid))}.1-ab.tmp`, '{')
    await writeFile(`${store.layout.arrival(String(other.cid))}.1-ab.tmp`, '{')
    await mkdir(`${store.layout.partial}/zz`)
    await writeFile(`${store.layout.partial}/zz/bafzz.0123`, 'rest')
    await utimes(`${store.layout.partial}/zz/bafzz.0123`, LONG_AGO, LONG_AGO)
    const before = await filesOf(store)
    const dry = await store.gc({ dryRun: true })
    expect(await filesOf(store)).toEqual(before)
    expect(dry.files).toBe(before.length - kept.length)
    expect(dry.freed).toBeGreaterThan(5000)
    expect(await store.gc()).toEqual(dry)
    expect(await filesOf(store)).toEqual(kept)
    expect(await verify(String(asset.cid), { store })).toMatchObject({ damage: [] })
  })

  it('keeps a pull that was broken off until nobody has gone on with it for long; what it shares stays', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const shared = { shared: noise(2 * MIB, 1) }
    const asset = await assetOf(folder, 'asset', shared)
    await pullAsset(asset.cid, { store, blocks: asset.blocks })
    const kept = await filesOf(store)
    const other = await assetOf(folder, 'other', { ...shared, large: noise(4 * MIB + 7, 2), small: noise(9, 3) })
    await begin(store, other, 6)
    const begun = await filesOf(store)
    expect(begun.length).toBeGreaterThan(kept.length + 3)
    expect(await store.gc()).toEqual({ freed: 0, files: 0, unfinished: [] })
    expect(await store.gc({ unfinishedAfter: 3600_000 })).toMatchObject({ files: 0 })
    expect(await filesOf(store)).toEqual(begun)
    await makeOld(store)
    expect(await store.gc()).toMatchObject({ unfinished: [String(other.cid)], files: begun.length - kept.length })
    expect(await filesOf(store)).toEqual(kept)
    expect(await verify(String(asset.cid), { store })).toMatchObject({ damage: [] })
  })

  it('54: removing another asset keeps what a broken off pull has, and that pull can be removed itself', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const asset = await assetOf(folder, 'asset', { small: noise(9, 3), large: noise(4 * MIB + 7, 2) })
    const other = await assetOf(folder, 'other', { small: noise(9, 3) })
    await pullAsset(other.cid, { store, blocks: other.blocks })
    await begin(store, asset, 6)
    await store.remove(String(other.cid))
    const again = sourceOf(asset.cid, asset.all)
    await pullAsset(asset.cid, { store, blocks: again.blocks })
    expect(again.asked.length).toBeLessThan(5)
    await store.remove(String(asset.cid))
    await begin(store, asset, 6)
    expect(await store.remove(String(asset.cid))).toBeGreaterThan(MIB)
    expect(await filesOf(store)).toEqual([])
    await expect(store.remove(String(asset.cid))).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  it('54: never takes what is being pulled or mended just then, however old and whoever else asks', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const asset = await assetOf(folder, 'asset', { 'a/large': noise(5 * MIB, 1), b: noise(9, 2), c: noise(9, 3) })
    const blocks: Source['blocks'] = async (wanted, options) => {
      const bytes = await asset.blocks(wanted, options)
      await makeOld(store)
      await (await openStore(store.path)).gc({ unfinishedAfter: 0 })
      await expect(store.remove(String(asset.cid))).rejects.toThrow()
      return bytes
    }
    await pullAsset(asset.cid, { store, blocks })
    expect(new Set(asset.asked).size).toBe(asset.asked.length)
    expect(await verify(String(asset.cid), { store })).toMatchObject({ damage: [] })
    expect(await store.gc({ unfinishedAfter: 0 })).toEqual({ freed: 0, files: 0, unfinished: [] })
    const { manifest } = await store.describe(String(asset.cid))
    const path = store.layout.file(String(manifest.files.get('a/large')!.cid))
    await writeFile(path, noise(5 * MIB, 9))
    await repairAsset(asset.cid, { store, blocks })
    expect(await verify(String(asset.cid), { store })).toMatchObject({ damage: [] })
  })

  it('54: takes nothing of what is being mended when another asset that has the same file is removed', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const shared = { large: noise(5 * MIB, 1) }
    const asset = await assetOf(folder, 'asset', { ...shared, b: noise(9, 2) })
    await pullAsset(asset.cid, { store, blocks: asset.blocks })
    const other = await assetOf(folder, 'other', { ...shared, c: noise(9, 3) })
    const path = store.layout.file(String((await store.describe(String(asset.cid))).manifest.files.get('large')!.cid))
    await writeFile(path, noise(5 * MIB, 9))
    await begin(store, other, 2)
    let isGone = false
    const blocks: Source['blocks'] = async (wanted, options) => {
      if (!isGone) await store.remove(String(other.cid))
      isGone = true
      return asset.blocks(wanted, options)
    }
    await repairAsset(asset.cid, { store, blocks })
    expect(isGone).toBe(true)
    expect(await verify(String(asset.cid), { store })).toMatchObject({ damage: [] })
  })

  it('54, 56: again and again in another process, takes nothing of what several processes pull', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const files = Object.fromEntries(Array.from({ length: 150 }, (_, at) => [`f${at}`, noise(20, at)]))
    const made = await writeAssetFolder(folder, 'asset', { ...files, large: noise(2 * MIB + 9, 999) })
    const blocks = `${folder.path}/blocks`
    const cid = await writeBlocks(made, blocks)
    const task = JSON.stringify({ what: 'pull', cid, blocks, log: `${folder.path}/log` } satisfies Upkeep)
    const script = `const { openStore } = await import(${JSON.stringify(API)})
      const store = await openStore(${JSON.stringify(store.path)})
      process.once('SIGTERM', () => (process.exitCode = 7))
      for (let times = 1; process.exitCode !== 7; times++) {
        await store.gc({ unfinishedAfter: 0 })
        if (times === 1) console.log('collecting')
        // Others get the lock only while nobody has it.
        await new Promise((resolve) => setTimeout(resolve, 30))
      }`
    const collector = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
    const ended = new Promise((resolve) => collector.on('exit', resolve))
    await new Promise((resolve) => collector.stdout.once('data', resolve))
    try {
      for (let round = 0; round < 3; round++) {
        const others = [1, 2].map(() => runChild([], moduleHere('upkeep'), [task], { WATCHED: folder.path }))
        await pullAsset(CID.parse(cid), { store, blocks: blocksIn(blocks) })
        for (const other of await Promise.all(others)) expect(other).toMatchObject({ code: 0, stderr: '' })
        expect(await verify(cid, { store })).toMatchObject({ damage: [] })
        await store.remove(cid)
      }
    } finally {
      collector.kill('SIGTERM')
      expect(await ended).toBe(7)
    }
  })

  it('takes what killed writers left beside locations, and leaves alone what is not of the store', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const asset = await assetOf(folder, 'asset', { a: noise(9, 1) })
    await store.changeLocations(String(asset.cid), () => ['file:///x'])
    await writeFile(`${store.layout.locationsOf(String(asset.cid))}.1-ab.tmp`, '[')
    for (const path of [store.layout.files, store.layout.nodes, store.layout.partial]) await writeFile(`${path}/.DS_Store`, '')
    const before = await filesOf(store)
    expect(await store.gc()).toMatchObject({ files: 1 })
    expect(await filesOf(store)).toEqual(before.filter((path) => !path.endsWith('.tmp')))
    expect(await store.locations(String(asset.cid))).toEqual(['file:///x'])
  })

  it('54: and pulls, removals and collections at the same time leave sound assets', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const assets = await Promise.all(
      [1, 2, 3].map((seed) => assetOf(folder, String(seed), { shared: noise(MIB + 1, 0), own: noise(MIB + 9, seed), same: noise(3, 4) })),
    )
    for (let round = 0; round < 6; round++) {
      await Promise.all([
        ...assets.map(({ cid, blocks }) => pullAsset(cid, { store, blocks })),
        store.gc({ unfinishedAfter: 0 }),
        openStore(store.path).then((other) => other.gc({ unfinishedAfter: 0 })),
      ])
      for (const { cid } of assets) expect(await verify(String(cid), { store })).toMatchObject({ damage: [] })
      const gone = String(assets[round % 3]!.cid)
      await Promise.all([
        store.remove(gone),
        store.gc({ unfinishedAfter: 0 }),
        pullAsset(assets[(round + 1) % 3]!.cid, { store, blocks: assets[0]!.blocks }),
      ])
      expect(await store.list()).toHaveLength(2)
    }
  })

  it('54: takes no file while what an asset needs cannot be known', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const asset = await assetOf(folder, 'asset', { a: noise(9, 1) })
    await pullAsset(asset.cid, { store, blocks: asset.blocks })
    const before = await filesOf(store)
    await writeFile(store.layout.asset(String(asset.cid)), '{}')
    await expect(store.gc()).rejects.toMatchObject({ code: 'CORRUPT', message: expect.stringContaining(String(asset.cid)) })
    expect(await filesOf(store)).toEqual(before)
  })
})
