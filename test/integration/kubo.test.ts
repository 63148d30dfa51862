import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { hasKubo, startKubo } from '../kubo.js'
import { temporary } from '../sources/files.js'

const SCRIPT = fileURLToPath(new URL('../../../scripts/kubo.mjs', import.meta.url))
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const run = promisify(execFile)

/** Waits until nobody answers at `api` and nothing is left at `repo`. */
async function gone({ api, repo }: { api: string; repo: string }): Promise<void> {
  const answers = () =>
    fetch(api).then(
      () => true,
      () => false,
    )
  while (existsSync(repo) || (await answers())) await new Promise((resolve) => setTimeout(resolve, 20))
}

describe.runIf(hasKubo)('a Kubo daemon for tests', () => {
  it('has nothing and asks nobody, unless it is online and told whom', async () => {
    await using folder = await temporary()
    await folder.write('hello', 'hello')
    await using one = await startKubo({ online: true })
    const cid = await one.exec('add', '--quieter', `${folder.path}/hello`)
    {
      await using offline = await startKubo()
      await expect(offline.exec('cat', cid)).rejects.toMatchObject({ stderr: expect.stringContaining('not found') })
    }
    await using two = await startKubo({ online: true, parent: folder.path })
    expect(await two.exec('swarm', 'peers')).toBe('')
    const addresses = (await one.exec('id', '--format=<addrs>')).split('\n')
    expect(addresses.filter((address) => !address.startsWith('/ip4/127.0.0.1/'))).toEqual([])
    await two.exec('swarm', 'connect', addresses[0]!)
    expect(await two.exec('cat', cid)).toBe('hello')
    expect(await (await fetch(`${two.gateway}/ipfs/${cid}?format=raw`)).text()).toBe('hello')
  })

  it('ends with whoever started it, killed or not, and leaves nothing', async () => {
    const child = spawn(process.execPath, [here('kubo-starter.js')], { stdio: ['ignore', 'pipe', 'inherit'] })
    const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
    const daemon = JSON.parse(line)
    expect(existsSync(daemon.repo)).toBe(true)
    child.kill('SIGKILL')
    await gone(daemon)
  })

  it('is started and stopped by hand too', async () => {
    const child = spawn(process.execPath, [SCRIPT, 'start'], { stdio: ['ignore', 'pipe', 'inherit'] })
    try {
      const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
      const daemon = JSON.parse(line)
      expect(daemon.pid).toBe(child.pid)
      expect((await fetch(`${daemon.api}/api/v0/version`, { method: 'POST' })).status).toBe(200)
      await run(process.execPath, [SCRIPT, 'stop', String(daemon.pid)])
      await gone(daemon)
      expect(child.exitCode).toBe(0)
    } finally {
      child.kill()
    }
  })
})

describe.runIf(process.platform !== 'win32')('where there is no Kubo that can be used', () => {
  async function skipped(env: Record<string, string>): Promise<string> {
    const code = `import('${new URL('../kubo.js', import.meta.url)}').then(({ hasKubo }) => console.log(hasKubo))`
    const { stdout, stderr } = await run(process.execPath, ['-e', code], { env })
    expect(stdout).toBe('false\n')
    return stderr
  }

  it('one line says what is missing', async () => {
    await using folder = await temporary()
    const env = { XDG_CACHE_HOME: folder.path, PATH: folder.path }
    expect(await skipped(env)).toBe(
      'skipped: tests with a Kubo daemon: Cannot run Kubo: there is no ipfs on the PATH; "node scripts/kubo.mjs build" makes one where Go is, MASSET_IPFS names another\n',
    )
    const nowhere = `${folder.path}/nowhere`
    expect(await skipped({ ...env, MASSET_IPFS: nowhere })).toBe(
      `skipped: tests with a Kubo daemon: Cannot run Kubo: there is no ${nowhere}, which MASSET_IPFS names\n`,
    )
    const old = await folder.write('ipfs', '#!/bin/sh\necho 0.39.0\n')
    await chmod(old, 0o755)
    expect(await skipped(env)).toMatch(
      /^skipped: [^\n]*: Cannot use the ipfs on the PATH: it is version 0\.39\.0, 0\.40 or later is needed[^\n]*\n$/,
    )
  })

  it('it is built only where Go is', async () => {
    await using folder = await temporary()
    await expect(
      run(process.execPath, [SCRIPT, 'build'], { env: { XDG_CACHE_HOME: folder.path, PATH: folder.path } }),
    ).rejects.toMatchObject({
      code: 1,
      stderr: 'kubo: Cannot build Kubo: go is not on this machine; install Go 1.26 or later\n',
    })
  })
})
