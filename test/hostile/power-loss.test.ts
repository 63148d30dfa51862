import { cp, rm } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { fragment, openStore } from '../../src/api/index.js'
import { checkpointBytes, safetensors, temporary } from '../sources/files.js'
import { noise } from '../transport/assets.js'
import { writeBlocks } from './blocks-on-disk.js'
import { answerOf } from './children.js'
import { type CrashReport, type Recorded, replayed } from './crash-points.js'
import { readLog } from './disk-log.js'
import type { FolderCrashes } from './folder-crashes.js'
import type { StoreCrashes } from './store-crashes.js'
import { QUICK, readTree } from './trees.js'

const A = checkpointBytes(['x.weight', 'y.weight', 'z.weight'])
const B = checkpointBytes(['x.weight', 'w.weight'])
const PRELOADS = ['one-thread', 'watch-disk']

/** What `recording` does on a disk, in a log that rebuilds the disk as it is afterwards: nothing escaped it. */
async function record(folder: string, args: readonly string[]): Promise<Recorded> {
  const recorded = { root: `${folder}/disk`, base: `${folder}/base`, log: `${folder}/log` }
  await cp(recorded.root, recorded.base, { recursive: true })
  await answerOf(PRELOADS, 'recording', args, { WATCHED: recorded.root, DISK_LOG: recorded.log })
  expect(replayed(recorded.root, readTree(recorded.base), readLog(recorded.log))).toEqual(readTree(recorded.root))
  return recorded
}

const look = (module: string, task: StoreCrashes | FolderCrashes, folder: string) =>
  answerOf<CrashReport>(PRELOADS, module, [JSON.stringify(task)], { WATCHED: `${folder}/scratch` })

describe('51: whatever of the unsynced is lost or reordered when the power fails,', () => {
  it('a store stays sound while an asset is added, pinned and removed, and what had resolved holds', async () => {
    await using folder = await temporary(QUICK)
    await folder.write('disk/a/model.safetensors', A)
    await folder.write('b/model.safetensors', B)
    const { cid: other } = await fragment(`${folder.path}/b`, { store: await openStore(`${folder.path}/disk/store`) })
    const { cid } = await fragment(`${folder.path}/disk/a`, { out: `${folder.path}/out` })
    const recorded = await record(folder.path, ['storing', 'store'])
    const { states, problems } = await look('store-crashes', { ...recorded, store: 'store', cid, other, choices: 1 }, folder.path)
    expect(problems).toEqual([])
    expect(states).toBeGreaterThan(150)
  })

  it('the first asset of a new store is as safe', async () => {
    await using folder = await temporary(QUICK)
    await folder.write('disk/a/model.safetensors', A)
    const { cid } = await fragment(`${folder.path}/disk/a`, { out: `${folder.path}/out` })
    const recorded = await record(folder.path, ['storing', 'new/store'])
    const { states, problems } = await look('store-crashes', { ...recorded, store: 'new/store', cid, choices: 1 }, folder.path)
    expect(problems).toEqual([])
    expect(states).toBeGreaterThan(100)
  })

  it('so it does while an asset is pulled in two goes, what nobody needs is collected, and it is removed', async () => {
    await using folder = await temporary(QUICK)
    // Of two leaves, so that a part of it may be there.
    const large = safetensors({ 'x.weight': { dtype: 'F32', shape: [1024, 260], data_offsets: [0, 1024 * 1040] } }, noise(1024 * 1040, 1))
    await folder.write('disk/a/model.safetensors', large)
    await folder.write('b/model.safetensors', B)
    const { cid: other } = await fragment(`${folder.path}/b`, { store: await openStore(`${folder.path}/disk/store`) })
    const { cid } = await fragment(`${folder.path}/disk/a`, { out: `${folder.path}/out` })
    expect(await writeBlocks(`${folder.path}/out`, `${folder.path}/blocks`)).toBe(cid)
    const recorded = await record(folder.path, ['pulling', 'store', `${folder.path}/blocks`, cid])
    const { states, problems } = await look('store-crashes', { ...recorded, store: 'store', cid, other, choices: 1 }, folder.path)
    expect(problems).toEqual([])
    expect(states).toBeGreaterThan(150)
  })

  it('a new asset folder is whole or not there, however it is made', async () => {
    await using folder = await temporary(QUICK)
    await folder.write('disk/a/model.safetensors', A)
    await folder.write('b/model.safetensors', B)
    const { cid: other } = await fragment(`${folder.path}/b`, { store: await openStore(`${folder.path}/disk/store`) })
    const { cid } = await fragment(`${folder.path}/disk/a`, { out: `${folder.path}/disk/sealed` })
    await rm(`${folder.path}/disk/sealed/asset.json`)
    await rm(`${folder.path}/disk/sealed/model.safetensors.index.json`)
    const recorded = await record(folder.path, ['making', other])
    const folders = [
      { call: 'written', path: 'out/of/a/written', cid },
      { call: 'got', path: 'got', cid: other },
      { call: 'sealed', path: 'sealed', cid, inPlace: true },
    ]
    const { states, problems } = await look('folder-crashes', { ...recorded, folders, choices: 1 }, folder.path)
    expect(problems).toEqual([])
    expect(states).toBeGreaterThan(100)
  })
})
