import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, open, readdir, readFile, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { importer } from 'ipfs-unixfs-importer'
import { describe, expect, it } from 'vitest'
import { fragment, getFolder, openStore, putFolder, verify } from '../../src/api/index.js'
import { openAsset } from '../../src/store/open-asset.js'
import { checkpointBytes, temporary } from '../sources/files.js'

const DEMO = fileURLToPath(new URL('../../../models/demo', import.meta.url))
const CLI = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))
const run = promisify(execFile)

describe('the store', () => {
  it('has, lists, pins and removes assets; files that another asset needs stay', async () => {
    await using folder = await temporary()
    await folder.write('a/model.safetensors', checkpointBytes(['x.weight', 'y.weight']))
    await folder.write('b/model.safetensors', checkpointBytes(['x.weight', 'z.weight']))
    const store = await openStore(`${folder.path}/store`)
    const [a, b] = [await fragment(`${folder.path}/a`, { store, name: 'one' }), await fragment(`${folder.path}/b`, { store })]
    expect(await store.has(a.cid)).toBe(true)
    expect((await store.list()).map(({ cid }) => cid).sort()).toEqual([a.cid, b.cid].sort())
    expect((await store.list()).find(({ cid }) => cid === a.cid)).toMatchObject({ name: 'one', kind: 'model', pinned: false })
    await store.pin(a.cid)
    await expect(store.remove(a.cid)).rejects.toMatchObject({ code: 'BAD_USAGE' })
    await store.unpin(a.cid)
    expect(await store.remove(a.cid)).toBeGreaterThan(0)
    expect(await store.has(a.cid)).toBe(false)
    expect(await verify(b.cid, { store })).toMatchObject({ damage: [] })
    await store.remove(b.cid)
    const left = await readdir(`${folder.path}/store/files`, { recursive: true, withFileTypes: true })
    expect(left.filter((entry) => entry.isFile())).toEqual([])
    await expect(verify(b.cid, { store })).rejects.toMatchObject({ code: 'NOT_FOUND', message: expect.stringContaining('masset ls') })
  })

  it('gets an asset out as a folder without links, which is the same asset, and puts it into another store', async () => {
    await using folder = await temporary()
    const [one, two] = [await openStore(`${folder.path}/one`), await openStore(`${folder.path}/two`)]
    const { cid } = await fragment(DEMO, { store: one })
    await getFolder(one, cid, `${folder.path}/out`)
    expect(await verify(`${folder.path}/out`)).toMatchObject({ cid, damage: [] })
    expect((await readdir(`${folder.path}/out`, { recursive: true, withFileTypes: true })).some((entry) => entry.isSymbolicLink())).toBe(
      false,
    )
    expect((await stat(`${folder.path}/out/modules/lm_head.safetensors`)).nlink).toBe(1)
    expect(await putFolder(two, `${folder.path}/out`)).toBe(cid)
    expect(await verify(cid, { store: two })).toMatchObject({ damage: [] })
    await writeFile(`${folder.path}/out/config.json`, '{}')
    const three = await openStore(`${folder.path}/three`)
    await expect(putFolder(three, `${folder.path}/out`)).rejects.toMatchObject({
      code: 'CORRUPT',
      message: expect.stringContaining('config.json'),
    })
    expect(await three.list()).toEqual([])
    expect(await readdir(`${folder.path}/three/tmp`)).toEqual([])
  })

  it('the CID of a written folder is that of the plain importer over its files', async () => {
    await using folder = await temporary()
    const { cid } = await fragment(DEMO, { out: `${folder.path}/out` })
    const entries = await readdir(`${folder.path}/out`, { recursive: true, withFileTypes: true })
    const files = await Promise.all(
      entries
        .filter((entry) => entry.isFile())
        .map(async (entry) => ({
          path: relative(`${folder.path}/out`, join(entry.parentPath, entry.name)),
          content: await readFile(join(entry.parentPath, entry.name)),
        })),
    )
    const blocks = { put: async (block: unknown) => block }
    let root: { cid: unknown } | undefined
    for await (root of importer(files, blocks as never, { profile: 'unixfs-v1-2025', wrapWithDirectory: true }));
    expect(String(root!.cid)).toBe(cid)
  })

  it('53: a flipped byte in a stored manifest is found, though the folder that it describes is the same', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const { cid } = await fragment(DEMO, { store, name: 'abc' })
    const { manifestFile } = await store.describe(cid)
    const path = store.layout.file(String(manifestFile.cid))
    const text = await readFile(path, 'utf8')
    await writeFile(path, text.replace('"name":"abc"', '"name":"abd"'))
    await expect(openAsset(cid, async () => store)).rejects.toMatchObject({
      code: 'CORRUPT',
      message: expect.stringContaining('its manifest is'),
    })
    expect((await store.list())[0]).toMatchObject({ cid, kind: 'damaged' })
    await fragment(DEMO, { store, name: 'abc' })
    expect(await verify(cid, { store })).toMatchObject({ damage: [] })
  })

  it('50: an entry that a killed writer left half-written hinders neither listing nor removing, and goes', async () => {
    await using folder = await temporary()
    await folder.write('a/model.safetensors', checkpointBytes(['x.weight']))
    const store = await openStore(`${folder.path}/store`)
    const [a, demo] = [await fragment(`${folder.path}/a`, { store }), await fragment(DEMO, { store })]
    await folder.write(`store/assets/${demo.cid}.123-abcd.tmp`, '{"manif')
    expect((await store.list()).map(({ cid }) => cid).sort()).toEqual([a.cid, demo.cid].sort())
    await store.remove(a.cid)
    expect(await readdir(`${folder.path}/store/assets`)).toEqual([demo.cid])
    expect(await verify(demo.cid, { store })).toMatchObject({ damage: [] })
  })

  it('54: removes no file while what another asset needs cannot be known', async () => {
    await using folder = await temporary()
    await folder.write('a/model.safetensors', checkpointBytes(['x.weight']))
    const store = await openStore(`${folder.path}/store`)
    const [a, demo] = [await fragment(`${folder.path}/a`, { store }), await fragment(DEMO, { store })]
    const entry = await readFile(store.layout.asset(demo.cid))
    await writeFile(store.layout.asset(demo.cid), '{}')
    await expect(store.remove(a.cid)).rejects.toMatchObject({ code: 'CORRUPT', message: expect.stringContaining(demo.cid) })
    await writeFile(store.layout.asset(demo.cid), entry)
    expect(await verify(demo.cid, { store })).toMatchObject({ damage: [] })
  })

  it('54, 55: removing while another adds keeps what is needed; what a crash left is swept by the next removal', async () => {
    await using folder = await temporary()
    await folder.write('a/model.safetensors', checkpointBytes(['x.weight', 'y.weight']))
    await folder.write('b/model.safetensors', checkpointBytes(['x.weight', 'z.weight']))
    const store = await openStore(`${folder.path}/store`)
    for (let round = 0; round < 5; round++) {
      const a = await fragment(`${folder.path}/a`, { store })
      const [b] = await Promise.all([fragment(`${folder.path}/b`, { store }), store.remove(a.cid)])
      expect(await verify(b.cid, { store })).toMatchObject({ damage: [] })
    }
    // a crash after the entry was removed and before any file was
    const demo = await fragment(DEMO, { store })
    await rm(store.layout.asset(demo.cid))
    const a = await fragment(`${folder.path}/a`, { store })
    expect(await store.remove(a.cid)).toBeGreaterThan(1_500_000)
    for (const { cid } of await store.list()) expect(await verify(cid, { store })).toMatchObject({ damage: [] })
  })

  it('56: two processes write the same asset at once; both succeed and it is sound', async () => {
    await using folder = await temporary()
    const env = { ...process.env, MODULE_ASSETS_HOME: `${folder.path}/store` }
    const outcomes = await Promise.all([1, 2].map(() => run(process.execPath, [CLI, 'fragment', DEMO, '--store'], { env })))
    expect(outcomes[0]!.stdout).toBe(outcomes[1]!.stdout)
    const store = await openStore(`${folder.path}/store`)
    expect(await verify(outcomes[0]!.stdout.trim(), { store })).toMatchObject({ damage: [] })
  })

  it('56: takes over a lock whose holder is gone', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    await writeFile(`${folder.path}/store/lock`, '')
    await mkdir(`${folder.path}/store/lock.lock`)
    const long = new Date(Date.now() - 3_600_000)
    await utimes(`${folder.path}/store/lock.lock`, long, long)
    await fragment(DEMO, { store })
  })

  it('53: a flipped bit, a truncated and an empty fragment are found when read and by verify; adding again mends', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const { cid } = await fragment(DEMO, { store })
    const asset = await openAsset(cid, async () => store)
    const file = asset.manifest.files.get('modules/lm_head.safetensors')!
    const path = (await asset.placeOf(file)).path
    const damages = [
      async () => {
        const handle = await open(path, 'r+')
        await handle.write(Buffer.from([0xaa]), 0, 1, 5000)
        await handle.close()
      },
      () => truncate(path, 6000),
      () => truncate(path, 0),
    ]
    for (const damage of damages) {
      await damage()
      const read = async () => {
        const opened = await asset.open(file.path)
        await opened.read(new Uint8Array(8192), 4096).finally(() => opened.close())
      }
      await expect(read()).rejects.toMatchObject({
        code: 'CORRUPT',
        message: expect.stringContaining('lm_head'),
      })
      expect((await verify(cid, { store })).damage.join()).toContain('lm_head')
      await fragment(DEMO, { store })
      expect(await verify(cid, { store })).toMatchObject({ damage: [] })
    }
  })

  it('53: damaged checksums beside a file are found; reading hashes the file instead', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const { cid } = await fragment(DEMO, { store })
    const asset = await openAsset(cid, async () => store)
    const file = asset.manifest.files.get('modules/lm_head.safetensors')!
    await writeFile(`${(await asset.placeOf(file)).path}.sums`, randomBytes(100))
    const handle = await (await openAsset(cid, async () => store)).open(file.path)
    expect(await handle.read(new Uint8Array(10), 5000)).toBe(4096)
    await handle.close()
    expect((await verify(cid, { store })).damage.join()).toContain('checksums')
  })

  it('53: verify finds what is wrong with the manifest, its checksums and the blocks of the folders', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const { cid } = await fragment(DEMO, { store })
    const { manifestFile, nodes } = await store.describe(cid)
    expect(nodes.length).toBeGreaterThan(10)
    const manifest = store.layout.file(String(manifestFile.cid))
    const damages: [string, () => Promise<unknown>][] = [
      ['asset.json', () => rm(`${manifest}.sums`)],
      [String(nodes[3]!.cid), () => rm(store.layout.node(String(nodes[3]!.cid)))],
      [String(nodes[0]!.cid), () => truncate(store.layout.node(String(nodes[0]!.cid)), 10)],
      [String(nodes.at(-1)!.cid), () => writeFile(store.layout.node(String(nodes.at(-1)!.cid)), randomBytes(100))],
    ]
    for (const [named, damage] of damages) {
      await damage()
      const found = await verify(cid, { store })
      expect(found.damage).toHaveLength(1)
      expect(found.damage[0]).toContain(named)
      await fragment(DEMO, { store })
      expect(await verify(cid, { store })).toMatchObject({ damage: [] })
    }
  })

  it('53: a file of an open asset that was mended is read again', async () => {
    await using folder = await temporary()
    await fragment(DEMO, { out: `${folder.path}/out` })
    const path = `${folder.path}/out/modules/lm_head.safetensors`
    const good = await readFile(path)
    await writeFile(
      path,
      good.map((byte, at) => (at === 5000 ? byte ^ 1 : byte)),
    )
    const asset = await openAsset(`${folder.path}/out`, () => Promise.reject())
    await expect(asset.open('modules/lm_head.safetensors')).rejects.toMatchObject({ code: 'CORRUPT' })
    await writeFile(path, good)
    const file = await asset.open('modules/lm_head.safetensors')
    expect(await file.read(new Uint8Array(10), 5000)).toBe(4096)
    await file.close()
  })

  it('a manifest that does not hash to the CID asked for is refused', async () => {
    await using folder = await temporary()
    await folder.write('a/model.safetensors', checkpointBytes(['x.weight']))
    const store = await openStore(`${folder.path}/store`)
    const [a, b] = [await fragment(`${folder.path}/a`, { store }), await fragment(DEMO, { store })]
    await writeFile(store.layout.asset(a.cid), await readFile(store.layout.asset(b.cid)))
    await expect(openAsset(a.cid, async () => store)).rejects.toMatchObject({ code: 'CORRUPT', message: expect.stringContaining(b.cid) })
  })

  it.runIf(process.platform === 'linux' && process.getuid?.() === 0)(
    '52: on a full disk it says so in one line, and nothing half-written stays',
    async () => {
      await using folder = await temporary()
      const disk = `${folder.path}/disk`
      await mkdir(disk)
      try {
        await run('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', disk])
      } catch {
        console.warn('skipped: this machine does not let a test mount a small disk')
        return
      }
      try {
        const failed = run(process.execPath, [CLI, 'fragment', DEMO, '--out', `${disk}/out`])
        await expect(failed).rejects.toMatchObject({
          code: 1,
          stderr: expect.stringMatching(/^masset: Cannot .*disk is full; free some space.*\n$/),
        })
        expect(await readdir(disk)).toEqual([])
        const store = await openStore(`${disk}/store`)
        await expect(fragment(DEMO, { store })).rejects.toMatchObject({ code: 'IO', message: expect.stringContaining('disk is full') })
        expect(await readdir(`${disk}/store/tmp`)).toEqual([])
        expect(await store.list()).toEqual([])
      } finally {
        await run('umount', [disk])
      }
    },
  )
})
