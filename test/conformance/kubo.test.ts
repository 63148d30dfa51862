import { mkdirSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fragment, getFolder, openStore, seal } from '../../src/api/index.js'
import { dagSizeOf } from '../../src/asset/dag-size.js'
import { depthFirst } from '../../src/asset/depth-first.js'
import { type HashedFolder, hashFolder } from '../../src/asset/hash-folder.js'
import { QUICK, readTree, treeHash } from '../hostile/trees.js'
import { hasKubo, type Kubo, startKubo } from '../kubo.js'
import { checkpointBytes, temporary } from '../sources/files.js'
import { blocksOf, pushTo } from './folders.js'

const DEMO = fileURLToPath(new URL('../../../models/demo', import.meta.url))
const MIB = 1024 * 1024
const EMPTY_FOLDER = 'bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354'

const named = (count: number, name: (index: number) => string) => Array.from({ length: count }, (_, index) => name(index))
/** A name of exactly so many bytes, different for each index. */
const nameOf = (bytes: number, index: number) => String(index).padEnd(bytes, '-')

/** Makes files with a few bytes each, a different text for a different path; of a path that ends in `/` an empty folder. */
function makeFiles(folder: string, paths: readonly string[]): void {
  for (const path of paths) {
    const place = join(folder, path)
    mkdirSync(path.endsWith('/') ? place : join(place, '..'), { recursive: true })
    if (!path.endsWith('/')) writeFileSync(place, path)
  }
}

describe.runIf(hasKubo)('Kubo with the profile unixfs-v1-2025', () => {
  let kubo: Kubo
  beforeAll(async () => {
    kubo = await startKubo()
  })
  afterAll(() => kubo?.stop())

  const add = (folder: string) => kubo.exec('add', '--recursive', '--hidden', '--quieter', '--pin=false', folder)
  const cumulativeSize = async (path: string) => Number(await kubo.exec('files', 'stat', '--format=<cumulsize>', path))
  const lines = (text: string) => (text === '' ? [] : text.split('\n'))

  /** Adds a folder; its CID, the bytes of its DAG, and its blocks must be ours. */
  async function expectSame(folder: string): Promise<HashedFolder> {
    const ours = await hashFolder(folder)
    const cid = await add(folder)
    expect({ cid: String(ours.cid), dagSize: ours.dagSize }).toEqual({ cid, dagSize: await cumulativeSize(`/ipfs/${cid}`) })
    const blocks = (await blocksOf(ours)).map(({ cid }) => String(cid))
    expect(blocks.length).toBe(new Set(blocks).size)
    const theirs = [cid, ...lines(await kubo.exec('refs', '--recursive', '--unique', cid))]
    expect(blocks.toSorted()).toEqual(theirs.toSorted())
    const inDepth: string[] = []
    for await (const block of depthFirst(ours)) inDepth.push(String(block.cid))
    expect(inDepth).toEqual(theirs)
    return ours
  }

  it.each(['keep', 'q8', 'q4'] as const)('gives an asset of dtype %s our CID, as a folder and out of a store', async (dtype) => {
    await using folder = await temporary()
    const { cid } = await fragment(DEMO, { out: `${folder.path}/asset`, dtype })
    expect(String((await expectSame(`${folder.path}/asset`)).cid)).toBe(cid)
    const store = await openStore(`${folder.path}/store`)
    expect((await fragment(DEMO, { store, dtype })).cid).toBe(cid)
    await getFolder(store, cid, `${folder.path}/out`)
    expect(await add(`${folder.path}/out`)).toBe(cid)
  })

  it('gives an asset of more modules than one block of a folder holds our CID, sealed anew too', async () => {
    await using folder = await temporary(QUICK)
    const names = named(3000, (index) => `parts.numbered-${index}-слой.weight`)
    await folder.write('checkpoint/model.safetensors', checkpointBytes(names))
    const asset = `${folder.path}/asset`
    const { cid } = await fragment(`${folder.path}/checkpoint`, { out: asset })
    const hashed = await expectSame(asset)
    expect(String(hashed.cid)).toBe(cid)
    expect(hashed.nodes.length).toBeGreaterThan(200)
    expect((await seal(asset)).cid).toBe(cid)
  })

  it('gives files of every number of leaves and levels our CID and size', async () => {
    await using folder = await temporary()
    const sizes = [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 1024 * MIB, 1024 * MIB + 1]
    for (const size of sizes) {
      const handle = await open(`${folder.path}/${size}`, 'w')
      // Large files have holes; what is between tells that no leaf is taken for another.
      await handle.truncate(size)
      for (let at = 0; at < size; at += 67 * MIB + 4321) await handle.write('x', at)
      await handle.close()
    }
    const { cid, files } = await expectSame(folder.path)
    const listed = await kubo.exec('ls', '--size=false', String(cid))
    expect(lines(listed).toSorted()).toEqual(files.map((file) => `${file.cid} ${file.path}`).toSorted())
    for (const size of sizes) expect(await cumulativeSize(`/ipfs/${cid}/${size}`)).toBe(dagSizeOf(size))
  })

  it.each([
    ['as large as a block may be', 0, 1],
    ['one byte larger', 1, 200],
  ])('gives a folder whose block is %s our CID', async (_, excess, leastBlocks) => {
    await using folder = await temporary(QUICK)
    // A link with a name of 128 bytes or more: 3 around, CID 2 + 36, name 3 + n, Tsize 2; the folder's own data is 4.
    const linkSize = (name: string) => 46 + name.length
    const names = named(1000, (index) => nameOf(200, index))
    let left = 256 * 1024 + excess - 4 - names.reduce((sum, name) => sum + linkSize(name), 0)
    while (left > 0) {
      const link = left > 600 ? 250 : left > 350 ? left - (left >> 1) : left
      names.push(nameOf(link - 46, names.length))
      left -= link
    }
    for (const name of names) writeFileSync(join(folder.path, name), 'x')
    const { nodes } = await expectSame(folder.path)
    if (leastBlocks === 1) expect(nodes.map(({ bytes }) => bytes.byteLength)).toEqual([256 * 1024])
    else expect(nodes.length).toBeGreaterThan(leastBlocks)
  })

  const ODD = [
    'é',
    'e\u0301',
    'Ё',
    '名前',
    '😀',
    ' ',
    ' x ',
    'x.',
    '.hidden',
    '-r',
    '%41',
    'a\\b',
    'a\\/b',
    'a:b',
    '"',
    "'",
    'a\nb',
    '__proto__',
    'constructor',
  ]
  const LARGE = [
    ...ODD,
    ...ODD.map((name) => `in folders/${name}d/${name}`),
    'empty/',
    'empty/still empty/',
    ...named(4000, (index) => `a file of many, ${index}`),
    ...named(1500, (index) => `папка № ${index}/${index % 7}`),
    ...named(4000, (index) => `in folders/large/名前 ${index}`),
    ...named(4500, (index) => `in folders/large/of folders/a folder in a folder, ${index}/`),
  ]

  it('gives folders of thousands of files and folders, in one another, our CID, and gives back what we pushed', async () => {
    await using folder = await temporary(QUICK)
    const source = `${folder.path}/source`
    makeFiles(source, LARGE)
    const hashed = await expectSame(source)
    const order = new Map((await blocksOf(hashed)).map(({ cid }, index) => [String(cid), index]))
    const edges = lines(await kubo.exec('refs', '--recursive', '--format=<src> <dst>', String(hashed.cid))).map((line) => line.split(' '))
    expect(edges.filter(([from, to]) => order.get(from!)! < order.get(to!)!)).toEqual([])
    await expectBack(source, hashed, `${folder.path}/out`)
  })

  it('gives an asset back that we pushed, byte for byte', async () => {
    await using folder = await temporary()
    const source = `${folder.path}/asset`
    await fragment(DEMO, { out: source })
    await expectBack(source, await hashFolder(source), `${folder.path}/out`)
  })

  /** Pushes a folder to a daemon that has nothing else and no one to ask, and gets it out. */
  async function expectBack(source: string, hashed: HashedFolder, out: string): Promise<void> {
    await using other = await startKubo()
    const blocks = (await blocksOf(hashed)).length
    // Every node has the empty folder, and nothing else.
    const isEmptyFolder = ({ cid }: { cid: unknown }) => String(cid) === EMPTY_FOLDER
    const skipped = { blocks: hashed.nodes.some(isEmptyFolder) ? 1 : 0 }
    const sent = { blocks: blocks - skipped.blocks }
    expect(await pushTo(other, source, hashed)).toMatchObject({ cid: String(hashed.cid), all: { blocks }, sent, skipped })
    await other.exec('get', '--output', out, String(hashed.cid))
    expect(treeHash(readTree(out))).toBe(treeHash(readTree(source)))
  }
})
