import { cp, readdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { fragment, openStore, verify } from '../../src/api/index.js'
import { checkpointBytes, temporary } from '../sources/files.js'
import type { StoreFacts } from './aftermath.js'
import { answerOf, type Ended, runChild } from './children.js'
import { type Fault, KINDS } from './faults.js'
import { QUICK } from './trees.js'

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
