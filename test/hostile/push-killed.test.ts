import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { openStore, push, putFolder, verify } from '../../src/api/index.js'
import { hasKubo, startKubo } from '../kubo.js'
import { temporary } from '../sources/files.js'
import { noise, writeAssetFolder } from '../transport/assets.js'
import { countingProxy } from '../transport/counting-proxy.js'
import { QUICK } from './trees.js'

const CLI = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))
const KILLS = 17
const MOST_ATTEMPTS = 40
const CUTS = 3
const FILES = 400
const FILE_BYTES = 32 * 1024

/** Numbers from 0 to 1 that look like chance, the same in every run. */
function* chances(): Generator<number, never> {
  for (let state = 7; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    yield state / 2 ** 32
  }
}

describe.runIf(hasKubo)('a push that is broken off', () => {
  it('50, 60: by SIGKILL or a cut connection anywhere, is gone on with: only what the node lacks is sent', async () => {
    await using folder = await temporary(QUICK)
    const files = Object.fromEntries(Array.from({ length: FILES }, (_, at) => [`parts/${at}`, noise(FILE_BYTES, at)]))
    const store = await openStore(`${folder.path}/store`)
    const cid = await putFolder(store, await writeAssetFolder(folder, 'asset', files))
    await using kubo = await startKubo()
    await using proxy = await countingProxy(kubo.api)
    const local = async () => new Set((await kubo.exec('refs', 'local')).split('\n'))
    /** What the node has when it is done with what was broken off. */
    const settled = async () => {
      for (let before = await local(); ; ) {
        await setTimeout(100)
        const now = await local()
        if (now.size === before.size) return now.size
        before = now
      }
    }
    const empty = (await local()).size
    const outcomes = { killed: 0, cut: 0, done: 0, resumed: 0 }
    const chance = chances()
    for (let attempt = 0; (outcomes.killed < KILLS || outcomes.cut < CUTS) && attempt < MOST_ATTEMPTS; attempt++) {
      const child = spawn(process.execPath, [CLI, 'push', cid, '--to', proxy.url], {
        env: { ...process.env, MODULE_ASSETS_HOME: store.path },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      let [stdout, stderr] = ['', '']
      child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
      child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
      const isCut = outcomes.killed === KILLS
      proxy.after(chance.next().value * FILES * FILE_BYTES, () => (isCut ? proxy.cut() : child.kill('SIGKILL')))
      const [code, signal] = await once(child, 'close')
      if (signal === 'SIGKILL') outcomes.killed += 1
      else if (code === 0) outcomes.done += 1
      else {
        expect([isCut, code, stdout]).toEqual([true, 1, ''])
        expect(stderr).toMatch(/^masset: Cannot [^\n]+\n$/)
        outcomes.cut += 1
      }
      // One that said that it was done is.
      if (code === 0) expect(stdout.trim()).toBe(cid)
      const had = (await settled()) - empty
      if (had > 0) outcomes.resumed += 1
      const { all, sent, skipped } = await push(cid, { store, to: kubo.api })
      expect([sent.blocks, skipped.blocks]).toEqual([all.blocks - had, had])
      if (code === 0) expect(sent.blocks).toBe(0)
      await kubo.exec('repo', 'gc', '--quiet')
      expect((await local()).size).toBe(empty)
    }
    expect(outcomes).toMatchObject({ killed: KILLS, cut: CUTS })
    expect(outcomes.resumed).toBeGreaterThan(KILLS / 4)
    expect(await verify(cid, { store })).toMatchObject({ damage: [] })
  })
})
