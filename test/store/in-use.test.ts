import { execFile, spawn } from 'node:child_process'
import { mkdir, readdir, rm, utimes } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { fragment, loadModel, openStore, type Store, verify } from '../../src/api/index.js'
import { openAsset } from '../../src/store/open-asset.js'
import { checkpointBytes, temporary } from '../sources/files.js'

const DEMO = fileURLToPath(new URL('../../../models/demo', import.meta.url))
const CLI = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))
const API = new URL('../../src/api/index.js', import.meta.url).href
const LONG_AGO = new Date(Date.now() - 3_600_000)

async function demoStore(path: string): Promise<{ store: Store; cid: string }> {
  const store = await openStore(path)
  const { cid } = await fragment(DEMO, { store })
  return { store, cid }
}

describe('an asset in use', () => {
  it('54: is not removed, though none of its fragments was read yet; once closed it is', async () => {
    await using folder = await temporary()
    const { store, cid } = await demoStore(`${folder.path}/store`)
    const [one, two] = [await openAsset(cid, async () => store), await openAsset(cid, async () => store)]
    await one.close()
    await expect(store.remove(cid)).rejects.toMatchObject({ code: 'IN_USE', message: expect.stringContaining('a process is using it') })
    expect(await verify(cid, { store })).toMatchObject({ damage: [] })
    await two.close()
    expect(await store.remove(cid)).toBeGreaterThan(1_500_000)
    expect(await readdir(`${folder.path}/store/uses`)).toEqual([])
  })

  it('54: by a loaded model of another process is not removed; one that was killed counts only until its mark is old', async () => {
    await using folder = await temporary()
    const home = `${folder.path}/store`
    const { store, cid } = await demoStore(home)
    const script = `const { loadModel, openStore } = await import(${JSON.stringify(API)})
      const model = await loadModel(${JSON.stringify(cid)}, { store: await openStore(${JSON.stringify(home)}) })
      console.log('loaded')
      setInterval(() => model, 1000)`
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
    const ended = new Promise((resolve) => child.on('exit', resolve))
    try {
      await new Promise((resolve) => child.stdout.once('data', resolve))
      const removing = promisify(execFile)(process.execPath, [CLI, 'rm', cid], { env: { ...process.env, MODULE_ASSETS_HOME: home } })
      await expect(removing).rejects.toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/^masset: Cannot remove bafy\w+: a process is using it; end that first[^\n]*\n$/),
      })
    } finally {
      child.kill('SIGKILL')
      await ended
    }
    await expect(store.remove(cid)).rejects.toMatchObject({ code: 'IN_USE' })
    for (const name of await readdir(store.layout.uses)) await utimes(`${store.layout.uses}/${name}`, LONG_AGO, LONG_AGO)
    expect(await store.remove(cid)).toBeGreaterThan(1_500_000)
  })

  it('is let go of when loading fails, and when the model is closed', async () => {
    await using folder = await temporary()
    const { store, cid } = await demoStore(`${folder.path}/store`)
    await expect(loadModel(cid, { store, memory: 1 })).rejects.toMatchObject({ code: 'BUDGET_TOO_SMALL' })
    const model = await loadModel(cid, { store })
    await model.close()
    await expect(openAsset('bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi', async () => store)).rejects.toMatchObject({
      code: 'NOT_FOUND',
    })
    expect(await store.remove(cid)).toBeGreaterThan(1_500_000)
  })
})

describe('work in progress', () => {
  it('50: of a process that is gone is swept, whatever its id; of a living one it stays', async () => {
    await using folder = await temporary()
    const home = `${folder.path}/store`
    const store = await openStore(home)
    await mkdir(`${home}/tmp/dead/modules`, { recursive: true })
    await mkdir(`${home}/tmp/dead.lock`)
    await utimes(`${home}/tmp/dead.lock`, LONG_AGO, LONG_AGO)
    await mkdir(`${home}/tmp/unmarked`)
    await mkdir(`${home}/tmp/living`)
    await mkdir(`${home}/tmp/living.lock`)
    await openStore(home)
    expect((await readdir(`${home}/tmp`)).sort()).toEqual(['living', 'living.lock'])
    await folder.write('a/model.safetensors', checkpointBytes(['x.weight']))
    await fragment(`${folder.path}/a`, { store })
    await rm(`${home}/tmp/living.lock`, { recursive: true })
    await openStore(home)
    expect(await readdir(`${home}/tmp`)).toEqual([])
  })
})
