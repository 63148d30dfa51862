import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import type { CID } from 'multiformats/cid'
import { describe, expect, it } from 'vitest'
import { openStore } from '../../src/api/index.js'
import { hashFolder } from '../../src/asset/hash-folder.js'
import { fetchFolder } from '../../src/transport/fetch-folder.js'
import { pullAsset } from '../../src/transport/pull.js'
import { Retriever } from '../../src/transport/retriever.js'
import { temporary } from '../sources/files.js'
import { folderSource, noise, sourceOf, writeAssetFolder } from '../transport/assets.js'
import { MadeDag, type MadeLink } from '../transport/dags.js'
import { oddCid } from '../transport/made-blocks.js'
import { QUICK } from './trees.js'

const MIB = 1024 * 1024
const dag = () => new MadeDag()
type Made = readonly [MadeDag, CID]

/** A folder with one name that leads to what `make` makes. */
function holding(make: (made: MadeDag) => CID, name = 'f'): Made {
  const made = dag()
  return [made, made.folder([{ name, cid: make(made), size: 1 }])]
}

/** `depth` nodes above a leaf of one byte. */
function chain(made: MadeDag, depth: number): CID {
  let cid = made.leaf('x')
  for (let level = 0; level < depth; level++) cid = made.file([{ cid, size: 1 }])
  return cid
}

const shard = (made: MadeDag, fanOut: bigint, links: readonly MadeLink[]) =>
  made.node({ type: 'HAMT_SHARD' as never, fanOut, hashType: 0x22n }, links)

const REFUSED: readonly [string, () => Made, string, RegExp][] = [
  ['38: a long identity digest', () => holding(() => oddCid(0x55, 0, new Uint8Array(129))), 'BAD_INPUT', /only raw and dag-pb/],
  ['38: a short digest', () => holding(() => oddCid(0x55, 0x12, new Uint8Array(19))), 'BAD_INPUT', /only raw and dag-pb/],
  ['38: another hash function', () => holding(() => oddCid(0x55, 0x13, new Uint8Array(64))), 'BAD_INPUT', /only raw and dag-pb/],
  ['38: another codec', () => holding(() => oddCid(0x71, 0x12, new Uint8Array(32))), 'BAD_INPUT', /only raw and dag-pb/],
  ['42: a missing child', () => holding(() => oddCid(0x55, 0x12, new Uint8Array(32))), 'NOT_FOUND', /no source has it/],
  ...['..', '.', '', '/', 'a/b', '\0', 'a\\b', 'C:', 'x.', '../../../etc/passwd'].map((name): [string, () => Made, string, RegExp] => [
    `44: the name ${JSON.stringify(name)}`,
    () => holding((made) => made.leaf('x'), name),
    'BAD_INPUT',
    /is not safe everywhere/,
  ]),
  [
    '44: names in two cases',
    () => {
      const made = dag()
      return [made, made.folder(['a', 'A'].map((name) => ({ name, cid: made.leaf('x') })))]
    },
    'BAD_INPUT',
    /in another spelling/,
  ],
  [
    '44: one name twice, in two parts of a large folder',
    () => {
      const made = dag()
      const below = shard(made, 256n, [{ name: '01a', cid: made.leaf('y') }])
      return [
        made,
        shard(made, 256n, [
          { name: '00a', cid: made.leaf('x') },
          { name: '01', cid: below },
        ]),
      ]
    },
    'BAD_INPUT',
    /in another spelling/,
  ],
  ['45: a symlink', () => holding((made) => made.node({ type: 'SYMLINK' as never, data: Buffer.from('/etc') })), 'BAD_INPUT', /SYMLINK/],
  ['45: metadata', () => holding((made) => made.node({ type: 'METADATA' as never })), 'BAD_INPUT', /METADATA/],
  [
    '46: more links than sizes',
    () => holding((made) => made.node({ type: 'FILE' as never, blockSizes: [1n] }, [{ cid: made.leaf('x') }, { cid: made.leaf('y') }])),
    'BAD_INPUT',
    /2 links and sizes of 1/,
  ],
  [
    '46: a false filesize',
    () => holding((made) => made.file([{ cid: made.leaf('x'), size: 1 }], 2)),
    'BAD_INPUT',
    /says that it has 2 bytes/,
  ],
  [
    '46: a leaf longer than said',
    () => holding((made) => made.file([{ cid: made.leaf('xy'), size: 1 }])),
    'BAD_INPUT',
    /2 bytes, expected 1/,
  ],
  [
    '46: a leaf shorter than said',
    () => holding((made) => made.file([{ cid: made.leaf('x'), size: 9 }])),
    'BAD_INPUT',
    /1 bytes, expected 9/,
  ],
  [
    '46: sizes beyond numbers',
    () => holding((made) => made.file([{ cid: made.leaf('x'), size: 2 ** 63 }])),
    'BAD_INPUT',
    /its parts have 9223/,
  ],
  [
    '46: a folder as part of a file',
    () => holding((made) => made.file([{ cid: made.folder([]), size: 1 }])),
    'BAD_INPUT',
    /0 bytes, expected 1/,
  ],
  ...[0n, 1n, 3n, 255n, 2048n, 2n ** 60n].map((fanOut): [string, () => Made, string, RegExp] => [
    `47: the fanout ${fanOut}`,
    () => {
      const made = dag()
      return [made, shard(made, fanOut, [])]
    },
    'BAD_INPUT',
    /no shard has the fanout/,
  ]),
  [
    '47: a name without a place',
    () => {
      const made = dag()
      return [made, shard(made, 256n, [{ name: 'zzname', cid: made.leaf('x') }])]
    },
    'BAD_INPUT',
    /no place in the shard/,
  ],
  ['48: a file of 33 levels', () => holding((made) => chain(made, 33)), 'LIMIT', /more than 32 levels/],
  [
    '48: a large folder of 40 levels',
    () => {
      const made = dag()
      let cid = shard(made, 256n, [])
      for (let level = 0; level < 40; level++) cid = shard(made, 256n, [{ name: '00', cid }])
      return [made, cid]
    },
    'LIMIT',
    /32 levels of parts/,
  ],
  [
    '48: folders 120 deep',
    () => {
      const made = dag()
      let cid = made.folder([])
      for (let level = 0; level < 120; level++) cid = made.folder([{ name: 'd', cid }])
      return [made, cid]
    },
    'LIMIT',
    /deeper than 100/,
  ],
  [
    '48: a petabyte out of a few blocks',
    () =>
      holding((made) => {
        let [cid, size] = [made.leaf(new Uint8Array(MIB)), MIB]
        for (let level = 0; level < 3; level++) {
          cid = made.file(Array.from({ length: 1024 }, () => ({ cid, size })))
          size *= 1024
        }
        return cid
      }),
    'LIMIT',
    /all that may be written here/,
  ],
  [
    '48: a million names out of a few blocks',
    () => {
      const made = dag()
      const empty = made.leaf('')
      const rest = Array.from({ length: 25_000 }, (_, at) => ({ name: `f${at}`, cid: empty }))
      let cid = made.folder(rest)
      for (let level = 0; level < 45; level++) cid = made.folder([{ name: 'd', cid }, ...rest])
      return [made, cid]
    },
    'LIMIT',
    /more than 1000000 files and folders/,
  ],
  ['no protobuf', () => holding((made) => made.odd(noise(100, 1))), 'BAD_INPUT', /not UnixFS/],
  ['no data', () => holding((made) => made.odd(new Uint8Array(0))), 'BAD_INPUT', /no type/],
]

/** As a retriever gives them: odd CIDs are refused and each block is what its CID says. */
function retrieved(made: MadeDag) {
  const broker = { name: 'made', block: async (cid: CID) => made.all.get(String(cid)) }
  const retriever = new Retriever([broker])
  return (cid: CID, options: { limit: number }) => retriever.block(cid, options)
}

describe('a folder out of a hostile DAG is refused, nothing is written:', () => {
  it.each(REFUSED)('%s', async (_what, make, code, why) => {
    await using folder = await temporary(QUICK)
    const [made, root] = make()
    await expect(fetchFolder(root, `${folder.path}/out`, { blocks: retrieved(made), most: 2 ** 40 })).rejects.toMatchObject({
      code,
      message: expect.stringMatching(why),
    })
    expect(await readdir(folder.path)).toEqual([])
  })

  it('48: parts without bytes are not followed, however many there are', async () => {
    const made = dag()
    let cid = made.file([])
    for (let level = 0; level < 20; level++) cid = made.file(Array.from({ length: 1000 }, () => ({ cid, size: 0 })))
    await using folder = await temporary()
    const source = made.source(made.folder([{ name: 'f', cid }]))
    await fetchFolder(source.cid, `${folder.path}/out`, source)
    expect(source.asked).toHaveLength(2)
    expect(await readFile(`${folder.path}/out/f`)).toHaveLength(0)
  })

  it('49: a false Tsize is not looked at', async () => {
    await using folder = await temporary()
    const made = dag()
    const source = made.source(made.folder([{ name: 'f', cid: made.leaf('text'), size: 2 ** 50 }]))
    expect(await fetchFolder(source.cid, `${folder.path}/out`, source)).toMatchObject({ kind: 'folder', files: 1, bytes: 4 })
    expect(await readFile(`${folder.path}/out/f`, 'utf8')).toBe('text')
  })

  it('57: wrong bytes are never written, nor those of a source that has only some blocks', async () => {
    await using folder = await temporary()
    await folder.write('in/f', 'text')
    const { all, cid } = await folderSource(`${folder.path}/in`)
    for (const key of all.keys()) {
      const lying = new Map([...all].map(([at, bytes]) => [at, at === key ? Buffer.from('<html>not found</html>') : bytes]))
      const made = Object.assign(dag(), { all: lying })
      await expect(fetchFolder(cid, `${folder.path}/out`, { blocks: retrieved(made) })).rejects.toMatchObject({ code: 'CORRUPT' })
    }
    expect(existsSync(`${folder.path}/out`)).toBe(false)
  })
})

describe('a folder of any making', () => {
  it('comes back as it was: large folders, large files, empty ones', async () => {
    await using folder = await temporary(QUICK)
    for (let at = 0; at < 1300; at++) await folder.write(`in/many/${String(at).padStart(220, '-')}`, String(at))
    await folder.write('in/large', noise(5 * MIB + 3, 1))
    await folder.write('in/empty/not', '')
    const source = await folderSource(`${folder.path}/in`)
    const fetched = await fetchFolder(source.cid, `${folder.path}/new/out`, source)
    expect(fetched).toMatchObject({ kind: 'folder', files: 1302, folders: 2 })
    expect(String((await hashFolder(`${folder.path}/new/out`)).cid)).toBe(String(source.cid))
    await expect(fetchFolder(source.cid, `${folder.path}/new/out`, source)).rejects.toMatchObject({ code: 'BAD_USAGE' })
  })

  it('may have leaves of the older kind, with the bytes in nodes, of any size and depth', async () => {
    await using folder = await temporary()
    const made = dag()
    const old = (text: string): MadeLink => ({
      cid: made.node({ type: 'FILE' as never, data: Buffer.from(text), fileSize: BigInt(text.length) }),
      size: text.length,
    })
    const inner = made.file([old('two'), { cid: made.leaf(' three'), size: 6 }])
    const top = made.file([old('one '), { cid: inner, size: 9 }, old(' four')])
    const source = made.source(top)
    expect(await fetchFolder(top, `${folder.path}/out`, source)).toMatchObject({ kind: 'file', files: 1, folders: 0, bytes: 18 })
    expect(await readFile(`${folder.path}/out`, 'utf8')).toBe('one two three four')
    await expect(fetchFolder(top, `${folder.path}/out`, source)).rejects.toMatchObject({ code: 'BAD_USAGE' })
  })

  it('is cancelled, and nothing of it stays', async () => {
    await using folder = await temporary()
    await folder.write('in/large', noise(5 * MIB + 3, 1))
    const source = await folderSource(`${folder.path}/in`)
    const controller = new AbortController()
    const call = fetchFolder(source.cid, `${folder.path}/out`, {
      ...source,
      signal: controller.signal,
      onProgress: () => controller.abort(),
    })
    await expect(call).rejects.toMatchObject({ code: 'ABORTED' })
    expect(await readdir(folder.path)).toEqual(['in'])
  })
})

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
