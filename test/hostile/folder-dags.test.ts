import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { hashFolder } from '../../src/asset/hash-folder.js'
import { fetchFolder } from '../../src/transport/fetch-folder.js'
import { temporary } from '../sources/files.js'
import { folderSource, noise } from '../transport/assets.js'
import type { MadeLink } from '../transport/dags.js'
import { oddCid } from '../transport/made-blocks.js'
import { chain, dag, holding, type Made, retrieved, shard } from './made-folders.js'
import { QUICK } from './trees.js'

const MIB = 1024 * 1024

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
