import { execFile } from 'node:child_process'
import { chmod, cp, mkdir, readdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { AssetError, fragment, inspect, openStore, verify } from '../../src/api/index.js'
import { exclusively } from '../../src/store/lock.js'
import { openAsset } from '../../src/store/open-asset.js'
import { writeBlocks } from '../hostile/blocks-on-disk.js'
import { answerOf } from '../hostile/children.js'
import { type Change, readLog } from '../hostile/disk-log.js'
import { checkpointBytes, temporary } from '../sources/files.js'
import { noise, writeAssetFolder } from '../transport/assets.js'

const DEMO = fileURLToPath(new URL('../../../models/demo', import.meta.url))
const API = new URL('../../src/api/index.js', import.meta.url).href
const LONG_AGO = new Date(Date.now() - 3_600_000)
const codeOf = (error: unknown) => (error instanceof AssetError ? error.code : String(error))

describe('readers and writers of a store', () => {
  it('56: an asset is opened, listed and verified while another process changes the store', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const { cid } = await fragment(DEMO, { store })
    await exclusively(store.layout, async () => {
      const other = await openStore(store.path)
      expect((await inspect(cid, { store: other })).modules.length).toBeGreaterThan(10)
      expect(await verify(cid, { store: other })).toMatchObject({ damage: [] })
      expect(await other.list()).toHaveLength(1)
    })
  })

  it('56: a writer that waited long enough says who to look for, and what to remove if there is nobody', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    await mkdir(`${store.path}/lock.lock`)
    await expect(exclusively(store.layout, async () => 'done', 100)).rejects.toMatchObject({
      code: 'IN_USE',
      message: `Cannot change the store ${store.path}: another process is changing it; try again, or if none is running remove the folder ${store.path}/lock.lock`,
    })
    await rm(`${store.path}/lock.lock`, { recursive: true })
    expect(await exclusively(store.layout, async () => 'done', 100)).toBe('done')
  })

  it('56: others wait for names only: nothing is written under the lock but the entry', async () => {
    await using folder = await temporary()
    await folder.write('disk/a/model.safetensors', checkpointBytes(['x.weight', 'y.weight', 'z.weight']))
    const [disk, log] = [`${folder.path}/disk`, `${folder.path}/log`]
    await answerOf(['one-thread', 'watch-disk'], 'recording', ['storing', 'store'], { WATCHED: disk, DISK_LOG: log })
    const changes = readLog(log)
    const taken = changes.findIndex((change) => change.op === 'mkdir' && change.path.endsWith('lock.lock'))
    const left = changes.findIndex((change, at) => at > taken && change.op === 'remove' && change.path.endsWith('lock.lock'))
    const held = changes.slice(taken, left)
    const writes = held.filter(
      (change): change is Change & { op: 'open'; path: string } => change.op === 'open' && change.content !== undefined,
    )
    expect(writes.map(({ path }) => held.find((change) => change.op === 'rename' && change.from === path))).toEqual([
      expect.objectContaining({ to: expect.stringMatching(/\/assets\/[a-z0-9]+$/) }),
    ])
    expect(held.filter(({ op }) => op === 'rename').length).toBeGreaterThan(8)
  })

  it('54: whatever a sweep may take gets its name whole and by a rename, and loses it by one', async () => {
    await using folder = await temporary()
    const blocks = `${folder.path}/blocks`
    const cid = await writeBlocks(await writeAssetFolder(folder, 'asset', { 'a/b': noise(1024 * 1024 + 9, 1), c: noise(9, 2) }), blocks)
    await folder.write('disk/a/model.safetensors', checkpointBytes(['x.weight']))
    const log = `${folder.path}/log`
    for (const args of [
      ['storing', 'one'],
      ['pulling', 'two', blocks, cid],
      ['mending', 'three', blocks, cid],
    ])
      await answerOf(['one-thread', 'watch-disk'], 'recording', args, { WATCHED: `${folder.path}/disk`, DISK_LOG: log })
    const places = readLog(log).flatMap((change) => {
      const isWritten = (change.op === 'open' && change.content !== undefined) || change.op === 'remove'
      const [, place] = isWritten ? (change.path.slice(folder.path.length + 1).match(/^disk\/(?:one|two|three)\/([a-z]+)/) ?? []) : []
      return place === undefined ? [] : [place]
    })
    expect([...new Set(places)].sort()).toEqual(['lock', 'partial', 'pins', 'tmp', 'uses'])
  })

  it('54: pinned while it is being removed, an asset stays, or nobody is told that it is pinned', async () => {
    await using folder = await temporary()
    await folder.write('a/model.safetensors', checkpointBytes(['x.weight']))
    const [store, other] = [await openStore(`${folder.path}/store`), await openStore(`${folder.path}/store`)]
    const outcomes = new Set<string>()
    for (let round = 0; round < 24; round++) {
      const { cid } = await fragment(`${folder.path}/a`, { store })
      const pinning = async () => {
        await new Promise((resolve) => setTimeout(resolve, round % 6))
        await other.pin(cid)
      }
      const [pinned, removed] = await Promise.all([pinning().then(() => 'pinned', codeOf), store.remove(cid).then(() => 'removed', codeOf)])
      outcomes.add(`${pinned}, ${removed}`)
      expect(await store.has(cid)).toBe(pinned === 'pinned')
      expect(await readdir(store.layout.pins)).toEqual(pinned === 'pinned' ? [cid] : [])
      if (pinned === 'pinned') expect(await verify(cid, { store })).toMatchObject({ damage: [] })
      await store.unpin(cid)
    }
    for (const outcome of outcomes) expect(['pinned, BAD_USAGE', 'NOT_FOUND, removed']).toContain(outcome)
  })

  it('54: removed while it is being opened, an asset is either kept for its reader or gone for it', async () => {
    await using folder = await temporary()
    await folder.write('a/model.safetensors', checkpointBytes(['x.weight', 'y.weight']))
    const store = await openStore(`${folder.path}/store`)
    const outcomes = new Set<string>()
    for (let round = 0; round < 16; round++) {
      const { cid } = await fragment(`${folder.path}/a`, { store })
      const reading = async () => {
        await new Promise((resolve) => setTimeout(resolve, round % 8))
        const asset = await openAsset(cid, async () => store).catch(codeOf)
        if (typeof asset === 'string') return asset
        expect(await verify(cid, { store })).toMatchObject({ damage: [] })
        await asset.close()
        return 'read'
      }
      const [read, removed] = await Promise.all([reading(), store.remove(cid).then(() => 'removed', codeOf)])
      outcomes.add(`${read}, ${removed}`)
      expect(await store.has(cid)).toBe(removed === 'IN_USE')
    }
    for (const outcome of outcomes) expect(['read, IN_USE', 'NOT_FOUND, removed', 'NOT_FOUND, IN_USE', 'read, removed']).toContain(outcome)
    expect(outcomes).toContain('read, IN_USE')
  })

  it('54: a mark that was made while a removal was under way brings the entry back', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const { cid } = await fragment(DEMO, { store })
    // The removal looks twice; between the looks a reader comes.
    const looks = ['nobody', 'a reader']
    Object.assign(store.uses, { has: async () => looks.shift() === 'a reader' })
    const entry = await readFile(store.layout.asset(cid))
    await expect(store.remove(cid)).rejects.toMatchObject({ code: 'IN_USE' })
    expect(await readFile(store.layout.asset(cid))).toEqual(entry)
    expect(await readdir(store.layout.assets)).toEqual([cid])
    expect(await verify(cid, { store })).toMatchObject({ damage: [] })
  })

  it('54: a reader whose asset is taken away and put back just then waits for that', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const { cid } = await fragment(DEMO, { store })
    const [entry, uses] = [store.layout.asset(cid), Object.getPrototypeOf(store.uses)]
    let removal: Promise<void> | undefined
    const mark = async (key: string) => {
      await new Promise<void>((taken) => {
        removal = exclusively(store.layout, async () => {
          await rename(entry, `${entry}.removing`)
          taken()
          await new Promise((resolve) => setTimeout(resolve, 200))
          await rename(`${entry}.removing`, entry)
        })
      })
      return uses.mark.call(store.uses, key)
    }
    Object.assign(store.uses, { mark })
    const asset = await openAsset(cid, async () => store)
    expect(removal).toBeDefined()
    await removal
    await asset.close()
    expect(await readdir(store.layout.uses)).toEqual([])
  })

  it('50: marks of processes that are gone are swept when the store is opened', async () => {
    await using folder = await temporary()
    const home = `${folder.path}/store`
    const { cid } = await fragment(DEMO, { store: await openStore(home) })
    for (const name of [`${cid}-dead`, `${cid}-living`]) await mkdir(`${home}/uses/${name}.lock`)
    await utimes(`${home}/uses/${cid}-dead.lock`, LONG_AGO, LONG_AGO)
    await openStore(home)
    expect(await readdir(`${home}/uses`)).toEqual([`${cid}-living.lock`])
  })
})

describe('a store that', () => {
  it.skipIf(process.platform === 'win32')('may only be read is read, whatever was left in it', async () => {
    await using folder = await temporary()
    const home = `${folder.path}/store`
    const { cid } = await fragment(DEMO, { store: await openStore(home) })
    await mkdir(`${home}/tmp/dead/x`, { recursive: true })
    await mkdir(`${home}/uses/${cid}-dead.lock`)
    for (const name of ['tmp/dead.lock', `uses/${cid}-dead.lock`]) {
      await mkdir(`${home}/${name}`, { recursive: true })
      await utimes(`${home}/${name}`, LONG_AGO, LONG_AGO)
    }
    await cp(home, `${folder.path}/bare`, { recursive: true })
    for (const name of ['tmp', 'uses', 'pins']) await rm(`${folder.path}/bare/${name}`, { recursive: true })
    const script = `const { openStore, verify, inspect } = await import(${JSON.stringify(API)})
      const found = []
      for (const home of process.argv.slice(1)) {
        const store = await openStore(home)
        const { damage } = await verify(${JSON.stringify(cid)}, { store })
        found.push([damage.length, (await store.list()).length, (await inspect(${JSON.stringify(cid)}, { store })).modules.length])
      }
      console.log(JSON.stringify(found))`
    // The owner of everything may write everywhere; so somebody else reads.
    const nobody = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}
    const lock = (mode: number) =>
      Promise.all([folder.path, `${folder.path}/bare`, home, `${home}/tmp`, `${home}/uses`].map((path) => chmod(path, mode)))
    await lock(0o555)
    try {
      const { stdout } = await promisify(execFile)(
        process.execPath,
        ['--input-type=module', '-e', script, home, `${folder.path}/bare`],
        nobody,
      )
      expect(JSON.parse(stdout)).toEqual([
        [0, 1, 39],
        [0, 1, 39],
      ])
    } finally {
      await lock(0o755)
    }
  })

  it('is gone says so', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const { cid } = await fragment(DEMO, { store })
    await rm(store.path, { recursive: true })
    await expect(store.list()).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringMatching(/^Cannot list the store .*: no such/),
    })
    await expect(inspect(cid, { store })).rejects.toMatchObject({ code: 'NOT_FOUND' })
    for (const call of [() => store.pin(cid), () => store.unpin(cid), () => store.remove(cid), () => fragment(DEMO, { store })])
      await expect(call()).rejects.toBeInstanceOf(AssetError)
  })

  it('can not be made says so', async () => {
    await using folder = await temporary()
    await writeFile(`${folder.path}/file`, '')
    for (const path of [`${folder.path}/file`, `${folder.path}/file/store`])
      await expect(openStore(path)).rejects.toMatchObject({ code: 'IO', message: expect.stringMatching(/^Cannot open the store .*; /) })
  })

  it.runIf(process.platform === 'linux')('can not be made where the system denies that there is a folder says so', async () => {
    await expect(openStore('/proc/x/y')).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining('/proc/x/y: no such'),
    })
  })
})
