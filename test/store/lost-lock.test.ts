import { spawn } from 'node:child_process'
import { cp, readdir, rm, utimes } from 'node:fs/promises'
import { CID } from 'multiformats/cid'
import { describe, expect, it } from 'vitest'
import { openStore, type Store, verify } from '../../src/api/index.js'
import { inLanes } from '../../src/core/lanes.js'
import { pullAsset } from '../../src/transport/pull.js'
import { blocksIn, writeBlocks } from '../hostile/blocks-on-disk.js'
import { moduleHere } from '../hostile/children.js'
import { KINDS } from '../hostile/faults.js'
import { QUICK } from '../hostile/trees.js'
import type { Upkeep } from '../hostile/upkeep.js'
import { temporary } from '../sources/files.js'
import { noise, writeAssetFolder } from '../transport/assets.js'

const LONG_AGO = new Date(Date.now() - 3_600_000)
type Folder = Awaited<ReturnType<typeof temporary>>

/** Ages the lock and the marks of a process that sleeps, as if it had slept for an hour. */
async function sleepLong(store: Store): Promise<void> {
  for (const folder of [store.path, store.layout.uses, store.layout.staging])
    for (const name of await readdir(folder)) if (name.endsWith('.lock')) await utimes(`${folder}/${name}`, LONG_AGO, LONG_AGO)
}

/** Stops a process before its call `at`, does something meanwhile, and lets it go on; undefined where it ends before that. */
async function stopped(disk: string, task: Upkeep, at: number, meanwhile: (store: Store) => Promise<void>) {
  const flags = ['one-thread', 'watch-disk'].flatMap((name) => ['--import', moduleHere(name)])
  const fault = JSON.stringify({ kinds: KINDS, at, deed: 'SIGSTOP' })
  const child = spawn(process.execPath, [...flags, moduleHere('upkeep'), JSON.stringify({ ...task, log: `${disk}/log` })], {
    env: { ...process.env, WATCHED: disk, FAULT: fault },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let [stdout, stderr] = ['', '']
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
  child.stderr.on('data', (text) => (stderr += text))
  await new Promise<void>((resolve) => {
    child.stdout.on('data', (text) => {
      stdout += text
      if (stdout.startsWith('stopped\n')) resolve()
    })
    child.on('close', () => resolve())
  })
  if (!stdout.startsWith('stopped\n')) return undefined
  try {
    const store = await openStore(`${disk}/store`)
    await sleepLong(store)
    await meanwhile(store)
  } finally {
    // More than once: it says that it stops just before it does.
    const goOn = setInterval(() => child.kill('SIGCONT'), 50)
    ended.then(() => clearInterval(goOn))
  }
  const code = await ended
  // A process whose lock was taken over says so, or has been done before.
  if (code !== 0) expect(stderr).toMatch(/another process took over meanwhile; try again|is missing; pull it again|no such file/)
  return { isDone: code === 0 }
}

/** The same at each `step`th call from `first`, on a disk of its own each time; how often it was stopped. */
async function stoppedAnywhere(
  folder: Folder,
  task: Upkeep,
  [first, step]: readonly [number, number],
  meanwhile: (store: Store) => Promise<void>,
  look: (store: Store, isDone: boolean) => Promise<void>,
): Promise<number> {
  let times = 0
  let isBeyond = false
  await inLanes(
    Array.from({ length: 200 }, (_, at) => first + at * step),
    2,
    async (at) => {
      if (isBeyond) return
      const disk = `${folder.path}/disks/${at}`
      await cp(`${folder.path}/base`, disk, { recursive: true, preserveTimestamps: true })
      const outcome = await stopped(disk, task, at, meanwhile)
      if (!outcome) isBeyond = true
      else {
        times++
        await look(await openStore(`${disk}/store`), outcome.isDone)
      }
      await rm(disk, { recursive: true })
    },
  )
  return times
}

/** A store on a disk, and the blocks of an asset. */
async function asset(folder: Folder): Promise<{ store: Store; cid: string; blocks: string }> {
  const blocks = `${folder.path}/blocks`
  const cid = await writeBlocks(await writeAssetFolder(folder, 'asset', { 'a/b': noise(900, 1), c: noise(9, 2) }), blocks)
  return { store: await openStore(`${folder.path}/base/store`), cid, blocks }
}

const isSound = async (store: Store, cid: string) => expect(await verify(cid, { store })).toMatchObject({ damage: [] })

describe('whoever sleeps with the lock until it is taken over, and then goes on,', () => {
  it('54, 56: takes nothing of what was added meanwhile: a collection', async () => {
    await using folder = await temporary(QUICK)
    const { store, cid, blocks } = await asset(folder)
    await pullAsset(CID.parse(cid), { store, blocks: blocksIn(blocks) })
    await rm(store.layout.asset(cid))
    const add = async (store: Store) => void (await pullAsset(CID.parse(cid), { store, blocks: blocksIn(blocks) }))
    const times = await stoppedAnywhere(folder, { what: 'gc', cid, blocks, log: '' }, [6, 3], add, (store) => isSound(store, cid))
    expect(times).toBeGreaterThan(8)
  })

  it('54, 56: takes nothing of what was added meanwhile: a removal', async () => {
    await using folder = await temporary(QUICK)
    const { store, cid, blocks } = await asset(folder)
    await pullAsset(CID.parse(cid), { store, blocks: blocksIn(blocks) })
    const add = async (store: Store) => void (await pullAsset(CID.parse(cid), { store, blocks: blocksIn(blocks) }))
    const look = async (store: Store, isDone: boolean) => {
      if (!isDone || (await store.has(cid))) await isSound(store, cid)
    }
    expect(await stoppedAnywhere(folder, { what: 'rm', cid, blocks, log: '' }, [6, 3], add, look)).toBeGreaterThan(8)
  })

  it('54, 56: lists no asset whose files were collected meanwhile: a pull', async () => {
    await using folder = await temporary(QUICK)
    const { cid, blocks } = await asset(folder)
    const look = async (store: Store, isDone: boolean) => {
      if (isDone) expect(await store.has(cid)).toBe(true)
      if (await store.has(cid)) await isSound(store, cid)
    }
    const collect = async (store: Store) => void (await store.gc({ unfinishedAfter: 0 }))
    expect(await stoppedAnywhere(folder, { what: 'pull', cid, blocks, log: '' }, [20, 3], collect, look)).toBeGreaterThan(8)
  })
})
