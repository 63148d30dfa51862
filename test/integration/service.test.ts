import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, readdir, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import type { ModelStats } from '../../src/api/index.js'
import { temporary } from '../sources/files.js'
import { npm, reachesRegistry } from './npm.js'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const run = promisify(execFile)

async function statsOf(address: string): Promise<ModelStats> {
  return (await (await fetch(`${address}/stats`)).json()) as ModelStats
}

describe('installed as a dependency', () => {
  it('serves two requests at once, one of them aborted, and shuts down by itself', { timeout: 400_000 }, async () => {
    if (!(await reachesRegistry())) {
      console.warn('skipped: the npm registry is out of reach')
      return
    }
    await using folder = await temporary()
    const service = `${folder.path}/service`
    await folder.write('service/package.json', '{"name":"service","private":true,"type":"module"}')
    await npm(ROOT, 'pack', '--ignore-scripts', '--pack-destination', folder.path)
    const tarball = (await readdir(folder.path)).find((name) => name.endsWith('.tgz'))!
    await npm(service, 'install', `${folder.path}/${tarball}`, 'fastify@5')
    await cp(`${ROOT}/examples/service.mjs`, `${service}/service.mjs`)
    const env = { ...process.env, MODULE_ASSETS_HOME: `${folder.path}/store` }
    const masset = `${service}/node_modules/module-assets/dist/src/cli/main.js`
    const { stdout } = await run(process.execPath, [masset, 'fragment', `${service}/node_modules/module-assets/models/demo`, '--store'], {
      env,
    })
    const cid = stdout.trim()

    // Without ONNX Runtime: one line with the command that adds it, which then is what adds it.
    await rm(`${service}/node_modules/onnxruntime-node`, { recursive: true, force: true })
    const failure = await run(process.execPath, [masset, 'run', cid, '--prompt', 'x'], { env }).catch((error) => error)
    expect(failure).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^masset: Cannot run models: onnxruntime-node is not installed; add it with: npm install [^\n]+\n$/),
    })
    expect((await run(process.execPath, [masset, 'doctor'], { env })).stdout).toContain('absent: npm install')
    const command = /add it with: npm (.*)\n/.exec(failure.stderr)![1]!
    await npm(service, ...command.split(' '))

    const child = spawn(process.execPath, ['service.mjs', cid], { cwd: service, env, stdio: ['ignore', 'pipe', 'inherit'] })
    try {
      const [address] = (await once(createInterface(child.stdout), 'line')) as [string]
      const ask = (text: string) =>
        fetch(`${address}/rewrite`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ text }) })
      const aborted = request(`${address}/rewrite`, { method: 'POST', headers: { 'content-type': 'application/json' } })
      aborted.on('error', () => undefined)
      aborted.end(JSON.stringify({ text: 'Friday, December the 25th, 2099' }))
      const answer = ask('the 3rd of March 2021')
      while ((await statsOf(address)).tokens < 2);
      aborted.destroy()
      expect(await (await answer).json()).toEqual({ text: '2021-03-03' })
      let stats = await statsOf(address)
      for (let tries = 0; stats.stateBytes > 0 && tries < 200; tries++) stats = await statsOf(address)
      expect(stats.stateBytes).toBe(0)
      expect(stats.tokens).toBeLessThan(20)
    } finally {
      child.kill('SIGTERM')
    }
    const [code] = await once(child, 'exit')
    expect(code).toBe(0)
  })
})
