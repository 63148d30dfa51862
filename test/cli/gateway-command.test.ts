import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { encodeInto, openStore } from '../../src/api/index.js'
import { temporary } from '../sources/files.js'

const CLI = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))

describe('masset gateway', () => {
  it('says where it listens, serves the store, and ends by itself when it is told to', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    await folder.write('folder/file', 'text')
    const cid = await encodeInto(store, `${folder.path}/folder`)
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const env = { ...process.env, MODULE_ASSETS_HOME: store.path }
      const child = spawn(process.execPath, [CLI, 'gateway', '--port', '0', '--json'], { env, stdio: ['ignore', 'pipe', 'pipe'] })
      const ended = once(child, 'exit')
      try {
        const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
        const { address, store: path } = JSON.parse(line)
        expect([path, address]).toEqual([store.path, expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/)])
        expect((await fetch(`${address}/ipfs/${cid}?format=car`)).status).toBe(200)
        const taken = spawnSync(process.execPath, [CLI, 'gateway', '--port', new URL(address).port], { env, encoding: 'utf8' })
        expect([taken.status, taken.stderr]).toEqual([1, expect.stringMatching(/^masset: Cannot listen on [^\n]+ another --port\n$/)])
      } finally {
        child.kill(signal)
      }
      expect(await ended).toEqual([0, null])
    }
    expect(await store.remove(cid)).toBeGreaterThan(4)
  })

  it('warns where others reach it', async () => {
    await using folder = await temporary()
    const env = { ...process.env, MODULE_ASSETS_HOME: `${folder.path}/store` }
    const child = spawn(process.execPath, [CLI, 'gateway', '--host', '0.0.0.0', '--port', '0'], {
      env,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const ended = once(child, 'exit')
    const [line] = (await once(createInterface(child.stderr), 'line')) as [string]
    child.kill('SIGTERM')
    expect(line).toMatch(/^masset: Whoever reaches http:\/\/0\.0\.0\.0:\d+ can read all that is in .*--host 127\.0\.0\.1 keeps it/)
    expect(await ended).toEqual([0, null])
  })
})
