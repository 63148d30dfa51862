import { appendFile, mkdir, open, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { openStore, pull, repair, verify } from '../../src/api/index.js'
import type { Store } from '../../src/store/store.js'
import { pullAsset, repairAsset } from '../../src/transport/pull.js'
import { temporary } from '../sources/files.js'
import { folderSource, noise, sourceOf, writeAssetFolder } from './assets.js'
import { serveBlocks } from './serve-blocks.js'

const MIB = 1024 * 1024
const FILES = { 'a/large': noise(5 * MIB + 7, 1), small: noise(1000, 3) }

async function flip(path: string, at: number): Promise<void> {
  const handle = await open(path, 'r+')
  await handle.write(Buffer.from('changed'), 0, 7, at)
  await handle.close()
}

describe('repairing an asset', () => {
  it('53: fetches the damaged leaves and nothing else, whatever is wrong', async () => {
    await using folder = await temporary()
    const source = await folderSource(await writeAssetFolder(folder, 'asset', FILES))
    const store = await openStore(`${folder.path}/store`)
    const cid = String(source.cid)
    await pullAsset(source.cid, { store, blocks: source.blocks })
    const { manifest, manifestFile, nodes } = await store.describe(cid)
    const { layout } = store
    const [large, small] = ['a/large', 'small'].map((path) => String(manifest.files.get(path)!.cid)) as [string, string]
    const node = layout.node(String(nodes[0]!.cid))
    const damages: [string, () => Promise<unknown>, number][] = [
      ['a flipped byte', () => flip(layout.file(large), MIB + 5), 1],
      ['two leaves', () => Promise.all([flip(layout.file(large), 5), flip(layout.file(large), 4 * MIB)]), 2],
      ['a short file', () => truncate(layout.file(large), 2 * MIB + 1), 4],
      ['a long file', () => appendFile(layout.file(large), 'more'), 0],
      ['a file that is gone', () => rm(layout.file(small)), 1],
      ['a large file that is gone, its sums not', () => rm(layout.file(large)), 6],
      ['a large file and sums', () => Promise.all([flip(layout.file(large), 0), flip(layout.sidecar(large), 20)]), 2],
      ['a folder for a file', () => rm(layout.file(small)).then(() => mkdir(layout.file(small))), 1],
      ['a link for a file', () => rm(layout.file(small)).then(() => symlink('/dev/zero', layout.file(small))), 1],
      ['sums', () => flip(layout.sidecar(large), 100), 0],
      ['sums that are gone', () => rm(layout.sidecar(small)), 0],
      ['a folder block', () => writeFile(node, 'no'), 0],
      ['a folder block that is gone', () => rm(node), 0],
      ['the manifest', () => flip(layout.file(String(manifestFile.cid)), 10), 2],
      ['the entry', () => writeFile(layout.asset(cid), '{}'), 2],
    ]
    for (const [what, damage, fetched] of damages) {
      await damage()
      const blocks = sourceOf(source.cid, source.all)
      const repaired = await repairAsset(source.cid, { store, blocks: blocks.blocks })
      expect([what, blocks.asked.length]).toEqual([what, fetched])
      expect([what, repaired.repaired.length > 0, repaired.fetched.blocks]).toEqual([what, true, fetched])
      expect([what, await verify(cid, { store })]).toEqual([what, expect.objectContaining({ damage: [] })])
      expect(await store.gc({ unfinishedAfter: 0 })).toMatchObject({ files: 0, unfinished: [] })
    }
    const blocks = sourceOf(source.cid, source.all)
    expect(await repairAsset(source.cid, { store, blocks: blocks.blocks })).toMatchObject({ repaired: [], fetched: { blocks: 0 } })
    await store.remove(cid)
    await expect(repairAsset(source.cid, { store, blocks: blocks.blocks })).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  it('that breaks off leaves the asset no worse, and goes on the next time', async () => {
    await using folder = await temporary()
    const source = await folderSource(await writeAssetFolder(folder, 'asset', FILES))
    const store = await openStore(`${folder.path}/store`)
    await pullAsset(source.cid, { store, blocks: source.blocks })
    const large = (await store.describe(String(source.cid))).manifest.files.get('a/large')!
    for (const at of [5, 2 * MIB, 4 * MIB]) await flip(store.layout.file(String(large.cid)), at)
    const damaged = await readFile(store.layout.file(String(large.cid)))
    await expect(repairAsset(source.cid, { store, blocks: sourceOf(source.cid, source.all, 2).blocks })).rejects.toMatchObject({
      code: 'IO',
    })
    expect(Buffer.compare(await readFile(store.layout.file(String(large.cid))), damaged)).toBe(0)
    await repairAsset(source.cid, { store, blocks: sourceOf(source.cid, source.all).blocks })
    expect(await verify(String(source.cid), { store })).toMatchObject({ damage: [] })
  })

  it('others read meanwhile: what they opened stays as it was, and is right when they open it again', async () => {
    await using folder = await temporary()
    const source = await folderSource(await writeAssetFolder(folder, 'asset', FILES))
    const store = await openStore(`${folder.path}/store`)
    await pullAsset(source.cid, { store, blocks: source.blocks })
    const { openAsset } = await import('../../src/store/open-asset.js')
    await using asset = await openAsset(String(source.cid), async () => store)
    const path = (await asset.placeOf(asset.manifest.files.get('a/large')!)).path
    await flip(path, MIB + 5)
    const before = await asset.open('a/large')
    const read = async (file: typeof before) => {
      const bytes = new Uint8Array(100)
      await file.read(bytes, MIB)
      return bytes
    }
    const blocks = sourceOf(source.cid, source.all)
    await repairAsset(source.cid, {
      store,
      blocks: async (wanted, options) => {
        await expect(read(before)).rejects.toMatchObject({ code: 'CORRUPT' })
        return blocks.blocks(wanted, options)
      },
    })
    await expect(read(before)).rejects.toMatchObject({ code: 'CORRUPT' })
    const after = await asset.open('a/large')
    expect(await read(after)).toEqual(FILES['a/large'].slice(MIB, MIB + 100))
    await Promise.all([before.close(), after.close()])
  })
})

describe('pulling by name of a source', () => {
  it('says what came from where; without one it says how to name one, but only where one is needed', async () => {
    await using folder = await temporary()
    const { all, cid } = await folderSource(await writeAssetFolder(folder, 'asset', FILES))
    await using gateway = await serveBlocks(all)
    const store: Store = await openStore(`${folder.path}/store`)
    const none = { store, from: [] }
    await expect(pull(String(cid), none)).rejects.toMatchObject({
      code: 'BAD_USAGE',
      message: expect.stringContaining('name some (--from'),
    })
    const pulled = await pull(`ipfs://${cid}`, { store, from: [gateway.source] })
    expect(pulled).toMatchObject({ cid: String(cid), files: 3, sources: [{ blocks: pulled.fetched.blocks }] })
    expect(await pull(String(cid), none)).toMatchObject({ fetched: { blocks: 0 } })
    expect(await repair(String(cid), none)).toMatchObject({ repaired: [] })
    const large = (await store.describe(String(cid))).manifest.files.get('a/large')!
    await flip(store.layout.file(String(large.cid)), 9)
    await expect(repair(String(cid), none)).rejects.toMatchObject({ code: 'BAD_USAGE' })
    expect(await repair(String(cid), { store, from: [gateway.source] })).toMatchObject({ repaired: ['a/large'], fetched: { blocks: 1 } })
  })
})
