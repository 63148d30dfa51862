import { readdir } from 'node:fs/promises'
import type { CID } from 'multiformats/cid'
import { describe, expect, it } from 'vitest'
import { openStore } from '../../src/api/index.js'
import { hashFolder } from '../../src/asset/hash-folder.js'
import { pullAsset } from '../../src/transport/pull.js'
import { temporary } from '../sources/files.js'
import { folderSource, noise, sourceOf, writeAssetFolder } from '../transport/assets.js'
import type { MadeDag, MadeLink } from '../transport/dags.js'
import { dag, holding, type Made, retrieved } from './made-folders.js'

const MIB = 1024 * 1024

/** Asset folders, as `asset.json` and the links beside it make them up. */
function asset(made: MadeDag, files: string, links: readonly MadeLink[] = []): CID {
  const manifest = Buffer.from(`{"format":"module-assets/1","kind":"dataset","files":${files}}\n`)
  return made.folder([...links, { name: 'asset.json', cid: made.leaf(manifest), size: manifest.byteLength }])
}

const ASSETS: readonly [string, () => Made, string, RegExp][] = [
  [
    'a file',
    () => {
      const made = dag()
      return [made, made.leaf('x')]
    },
    'BAD_INPUT',
    /for an asset: it is a file/,
  ],
  ['a folder without a manifest', () => holding((made) => made.leaf('x')), 'BAD_INPUT', /it has no asset\.json/],
  ['a manifest that is a folder', () => holding((made) => made.folder([]), 'asset.json'), 'BAD_INPUT', /its asset\.json is a folder/],
  [
    '45: a manifest that is a symlink',
    () => holding((made) => made.node({ type: 'SYMLINK' as never }), 'asset.json'),
    'BAD_INPUT',
    /SYMLINK/,
  ],
  [
    '48: a manifest without end',
    () =>
      holding((made) => {
        const part = { cid: made.leaf(new Uint8Array(MIB)), size: MIB }
        return made.file(Array(8000).fill(part))
      }, 'asset.json'),
    'LIMIT',
    /the limit is 268435456/,
  ],
  ['no JSON', () => holding((made) => made.leaf('<html>'), 'asset.json'), 'BAD_INPUT', /not valid UTF-8 JSON/],
  [
    '44: a path that leaves the folder',
    () => {
      const made = dag()
      return [made, asset(made, `{"../x":{"cid":"${made.leaf('x')}","size":1}}`)]
    },
    'BAD_INPUT',
    /unsafe path/,
  ],
  [
    '49: a false Tsize, so another folder than the manifest describes',
    () => {
      const made = dag()
      const cid = made.leaf('x')
      return [made, asset(made, `{"f":{"cid":"${cid}","size":1}}`, [{ name: 'f', cid, size: 2 }])]
    },
    'BAD_INPUT',
    /so the two disagree/,
  ],
  [
    'a file that the manifest does not name',
    () => {
      const made = dag()
      return [made, asset(made, '{}', [{ name: 'f', cid: made.leaf('x'), size: 1 }])]
    },
    'BAD_INPUT',
    /so the two disagree/,
  ],
]

describe('an asset out of a hostile DAG is refused, and nothing of it stored:', () => {
  it.each(ASSETS)('%s', async (_what, make, code, why) => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const [made, root] = make()
    await expect(pullAsset(root, { store, blocks: retrieved(made) })).rejects.toMatchObject({ code, message: expect.stringMatching(why) })
    await nothingIn(store.path)
  })

  /** An asset that is one with its manifest, which says of `large` what `lie` makes of it. */
  async function lying(lie: (large: { cid: CID; size: number; made: MadeDag }) => { cid: CID; size: number }): Promise<Made> {
    await using folder = await temporary()
    await folder.write('in/large', noise(3 * MIB, 1))
    const { files } = await hashFolder(`${folder.path}/in`)
    const source = await folderSource(`${folder.path}/in`)
    const made = dag()
    for (const [key, bytes] of source.all) made.all.set(key, bytes)
    const [large] = files
    const said = lie({ cid: large!.cid, size: large!.size, made })
    const { encodeManifest } = await import('../../src/asset/manifest.js')
    const { describeManifest, manifestFileOf } = await import('../../src/store/entry.js')
    const bytes = encodeManifest({ kind: 'dataset', files: new Map([['large', { path: 'large', ...said }]]) })
    const described = await describeManifest(bytes, await manifestFileOf(bytes), 'it')
    made.leaf(bytes)
    for (const node of described.nodes) made.put(node.cid, node.bytes)
    return [made, described.cid]
  }

  it.each<[string, Parameters<typeof lying>[0]]>([
    ['46: a size that is one less', ({ cid, size }) => ({ cid, size: size - 1 })],
    ['46: a size that is a leaf more', ({ cid, size }) => ({ cid, size: size + MIB })],
    ['46: a single block for a large file', ({ made, size }) => ({ cid: made.leaf('x'), size })],
    ['46: a node for a small file', ({ cid }) => ({ cid, size: 5 })],
    ['46: a leaf of another length', ({ made }) => ({ cid: made.leaf('xy'), size: 1 })],
    [
      '46: leaves of another size',
      ({ made }) => ({ cid: made.file(Array(2).fill({ cid: made.leaf(noise(MIB - 1, 1)), size: MIB - 1 })), size: 2 * MIB - 2 }),
    ],
    ['46: a folder for a file', ({ made, size }) => ({ cid: made.folder([]), size })],
    [
      '48: levels without end',
      ({ made }) => {
        let cid = made.file(Array(2).fill({ cid: made.leaf(noise(MIB, 1)), size: MIB }))
        for (let level = 0; level < 9; level++) cid = made.file([{ cid, size: 2 * MIB }])
        return { cid, size: 2 * MIB }
      },
    ],
    [
      '48: another shape of the same leaves',
      ({ made }) => {
        const leaf = { cid: made.leaf(noise(MIB, 1)), size: MIB }
        return { cid: made.file([{ cid: made.file([leaf, leaf]), size: 2 * MIB }, leaf]), size: 3 * MIB }
      },
    ],
    [
      '48: parts without bytes',
      ({ made, size }) => ({
        cid: made.file([
          { cid: made.file([]), size: 0 },
          { cid: made.leaf('x'), size },
        ]),
        size,
      }),
    ],
  ])('%s', async (_what, lie) => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const [made, root] = await lying(lie)
    await expect(pullAsset(root, { store, blocks: retrieved(made) })).rejects.toMatchObject({ code: 'BAD_INPUT' })
    expect(await store.list()).toEqual([])
    expect(await readdir(store.layout.files, { recursive: true })).toHaveLength(3)
    expect((await readdir(store.layout.partial, { recursive: true })).filter((name) => name.includes('/'))).toEqual([])
  })

  it('48: sizes beyond any disk are refused before a block of them is asked for', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const [made, root] = await lying(({ cid }) => ({ cid, size: 2 ** 49 }))
    const source = made.source(root)
    await expect(pullAsset(root, { store, blocks: source.blocks })).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringMatching(/takes 512\.0 TiB more.*free some space/),
    })
    expect(source.asked).toHaveLength(2)
  })

  it('42: blocks that are not of the asset are not asked for', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const { cid, all } = await folderSource(await writeAssetFolder(folder, 'asset', { f: noise(10, 1), 'g/h': noise(10, 2) }))
    const extra = dag()
    const source = sourceOf(cid, new Map([...all, [String(extra.leaf('extra')), Buffer.from('extra')]]))
    await pullAsset(cid, { store, blocks: source.blocks })
    expect(source.asked).not.toContain([...extra.all.keys()][0])
  })

  it.each([57, 60])('%i: whichever block is another, it does not reach the store, and an honest source completes it', async () => {
    await using folder = await temporary()
    const { cid, all } = await folderSource(await writeAssetFolder(folder, 'asset', { f: noise(10, 1), large: noise(2 * MIB + 5, 2) }))
    for (const key of all.keys()) {
      const store = await openStore(`${folder.path}/store-${key}`)
      const lie = Buffer.from(all.get(key)!)
      lie[lie.byteLength >> 1]! ^= 1
      const made = Object.assign(dag(), { all: new Map([...all, [key, lie]]) })
      await expect(pullAsset(cid, { store, blocks: retrieved(made) })).rejects.toMatchObject({ code: 'CORRUPT' })
      expect(await store.list()).toEqual([])
      const { verify } = await import('../../src/api/index.js')
      await pullAsset(cid, { store, blocks: retrieved(Object.assign(dag(), { all })) })
      expect(await verify(String(cid), { store })).toMatchObject({ damage: [] })
    }
  })
})

async function nothingIn(store: string): Promise<void> {
  const entries = await readdir(store, { recursive: true, withFileTypes: true })
  expect(entries.filter((entry) => entry.isFile()).map(({ name }) => name)).toEqual([])
}
