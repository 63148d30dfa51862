import { cp, readdir, rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { CID } from 'multiformats/cid'
import { expect, it } from 'vitest'
import { fragment, openStore, verify } from '../../src/api/index.js'
import { inLanes } from '../../src/core/lanes.js'
import type { Store } from '../../src/store/store.js'
import { pullAsset } from '../../src/transport/pull.js'
import { checkpointBytes, temporary } from '../sources/files.js'
import { noise, writeAssetFolder } from '../transport/assets.js'
import type { StoreFacts } from './aftermath.js'
import { blocksIn, writeBlocks } from './blocks-on-disk.js'
import { answerOf, type Ended, moduleHere, runChild } from './children.js'
import { seeded } from './disk-model.js'
import { type Fault, KINDS } from './faults.js'
import { makeOld, partOf, QUICK, readTree } from './trees.js'
import type { Upkeep } from './upkeep.js'
import type { UpkeepKills } from './upkeep-kills.js'

const CLI = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))

/** `masset` on a disk, where a signal comes just before a call. */
function masset(disk: string, args: readonly string[], deed: Fault['deed'], at: number): Promise<Ended> {
  const fault: Fault = { kinds: KINDS, at, deed }
  return runChild(['watch-disk'], CLI, args, { WATCHED: disk, MODULE_ASSETS_HOME: `${disk}/store`, FAULT: JSON.stringify(fault) })
}

/** Tries calls 1, 1 + step, ... two at a time, each on a disk of its own, until one is beyond the last. */
async function untilBeyond(step: number, attempt: (at: number) => Promise<boolean>): Promise<number> {
  let [next, last] = [1, Number.POSITIVE_INFINITY]
  const lane = async () => {
    while (next < last) {
      const at = next
      next += step
      if (!(await attempt(at))) last = Math.min(last, at)
    }
  }
  await Promise.all([lane(), lane()])
  return last
}

it('50: killed before any call, a writer leaves a store that is sound and forgets it; the next try succeeds', async () => {
  await using folder = await temporary(QUICK)
  await folder.write('base/a/model.safetensors', checkpointBytes(['x.weight', 'y.weight', 'z.weight']))
  await folder.write('b/model.safetensors', checkpointBytes(['x.weight', 'w.weight']))
  const { cid: other } = await fragment(`${folder.path}/b`, { store: await openStore(`${folder.path}/base/store`) })
  const { cid } = await fragment(`${folder.path}/base/a`, { out: `${folder.path}/out` })
  const beyond = await untilBeyond(17, async (at) => {
    const disk = `${folder.path}/disks/${at}`
    await cp(`${folder.path}/base`, disk, { recursive: true })
    const { code, signal } = await masset(disk, ['fragment', `${disk}/a`, '--store'], 'SIGKILL', at)
    expect([code, signal]).toEqual(signal ? [null, 'SIGKILL'] : [0, null])
    return signal !== null
  })
  expect(beyond).toBeGreaterThan(90)
  const facts: StoreFacts = { store: 'store', cid, other }
  const problems = await answerOf<string[]>(['one-thread', 'watch-disk'], 'store-kills', [JSON.stringify(facts)], {
    WATCHED: `${folder.path}/disks`,
  })
  expect(problems).toEqual([])
})

/** Folders that share a large file, and what of them is on a disk before anything is killed. */
async function upkeep(
  folder: Awaited<ReturnType<typeof temporary>>,
): Promise<{ cid: string; other: string; blocks: string; store: Store }> {
  const shared = noise(1024 * 1024 + 77, 1)
  const blocks = `${folder.path}/blocks`
  const files = { 'a/large': noise(3 * 1024 * 1024 + 5, 2), 'a/other': noise(1024 * 1024 + 9, 3), 'b/small': noise(500, 4), shared }
  const cid = await writeBlocks(await writeAssetFolder(folder, 'a', files), blocks)
  const other = await writeBlocks(await writeAssetFolder(folder, 'b', { 'x/shared': shared, y: noise(100, 5) }), blocks)
  const store = await openStore(`${folder.path}/base/store`)
  await pullAsset(CID.parse(other), { store, blocks: blocksIn(blocks) })
  return { cid, other, blocks, store }
}

/** The paths of all files of a store. */
const pathsOf = (store: string) =>
  [...partOf(readTree(store), (path) => !/^(tmp|uses|lock)\b/.test(path))].flatMap(([path, bytes]) => (bytes ? [path] : [])).sort()

/** Does it once to the end, then kills it at 50 calls by chance, each time on a disk of its own; then looks at all of them. */
async function kill50(folder: string, task: Upkeep, facts: Pick<UpkeepKills, 'other' | 'settled'>): Promise<string[]> {
  const run = async (name: string, at: number) => {
    const disk = `${folder}/${name}/${at}`
    await cp(`${folder}/base`, disk, { recursive: true, preserveTimestamps: true })
    const json = JSON.stringify({ ...task, log: `${disk}/log` })
    return runChild(['watch-disk'], moduleHere('upkeep'), [json], {
      WATCHED: disk,
      FAULT: JSON.stringify({ kinds: KINDS, at, deed: 'SIGKILL' }),
    })
  }
  const whole = await run('whole', 1_000_000_000)
  expect(whole).toMatchObject({ code: 0, stderr: '' })
  const calls = Number(whole.stdout)
  const random = seeded(50)
  const points = new Set(Array.from({ length: 120 }, () => 1 + Math.floor(random() * calls)))
  let killed = 0
  // How many calls there are varies a little: one beyond the last kills nothing.
  await inLanes([...points], 2, async (at) => {
    if (killed < 50 && (await run('disks', at)).signal === 'SIGKILL') killed++
  })
  expect(killed).toBeGreaterThanOrEqual(50)
  return answerOf<string[]>(['one-thread', 'watch-disk'], 'upkeep-kills', [JSON.stringify({ ...task, ...facts })], {
    WATCHED: `${folder}/disks`,
  })
}

it('50: killed 50 times by chance, a pull leaves what was there and what had come, and fetches only the rest', async () => {
  await using folder = await temporary(QUICK)
  const { cid, other, blocks } = await upkeep(folder)
  const goal = await openStore(`${folder.path}/goal`)
  for (const each of [other, cid]) await pullAsset(CID.parse(each), { store: goal, blocks: blocksIn(blocks) })
  const task = { what: 'pull' as const, cid, blocks, log: '' }
  expect(await kill50(folder.path, task, { other, settled: pathsOf(goal.path) })).toEqual([])
})

it('50, 55: killed 50 times by chance, a collection leaves every listed asset, and the next one does the rest', async () => {
  await using folder = await temporary(QUICK)
  const { cid, other, blocks, store } = await upkeep(folder)
  const settled = pathsOf(store.path)
  await expect(pullAsset(CID.parse(cid), { store, blocks: blocksIn(blocks, { most: 7 }) })).rejects.toThrow()
  const gone = await writeBlocks(await writeAssetFolder(folder, 'c', { 'many/1': noise(10, 7), 'many/2': noise(10, 8) }), blocks)
  await pullAsset(CID.parse(gone), { store, blocks: blocksIn(blocks) })
  await rm(store.layout.asset(gone))
  makeOld(`${folder.path}/base`)
  expect(pathsOf(store.path).length).toBeGreaterThan(settled.length + 10)
  expect(await kill50(folder.path, { what: 'gc', cid, blocks, log: '' }, { other, settled })).toEqual([])
})

it('50: interrupted at any call, "masset fragment --out" says so in one line and leaves nothing, or is done', async () => {
  await using folder = await temporary(QUICK)
  await folder.write('a/model.safetensors', checkpointBytes(['x.weight', 'y.weight', 'z.weight']))
  const { cid } = await fragment(`${folder.path}/a`, { out: `${folder.path}/out` })
  let cancelled = 0
  await untilBeyond(6, async (at) => {
    const disk = `${folder.path}/disks/${at}`
    await cp(`${folder.path}/a`, `${disk}/a`, { recursive: true })
    const { code, stdout, stderr } = await masset(disk, ['fragment', `${disk}/a`, '--out', `${disk}/out`], 'SIGINT', at)
    if (code === 0) {
      expect(stdout.trim()).toBe(cid)
      expect(await verify(`${disk}/out`)).toMatchObject({ cid, damage: [] })
      return at < 40
    }
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(/^masset: Cannot [^\n]+: it was cancelled\n$/)
    expect(await readdir(disk)).toEqual(['a'])
    cancelled++
    return true
  })
  expect(cancelled).toBeGreaterThan(2)
})
