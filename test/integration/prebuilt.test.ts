import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { prebuiltPackage } from '../../src/engines/native/find-addon.js'
import { temporary } from '../sources/files.js'
import { npm, reachesRegistry } from './npm.js'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const run = promisify(execFile)

describe('packed for a release', () => {
  it('the project lists the package of each platform that is built, and finds its addon there', { timeout: 400_000 }, async () => {
    if (!existsSync(join(ROOT, 'native/masset.node')) || !(await reachesRegistry())) {
      console.warn('skipped: a prebuilt package, since the native engine is not built here, or the npm registry is out of reach')
      return
    }
    await using folder = await temporary()
    await run(process.execPath, [join(ROOT, 'scripts/native.mjs'), 'pack', folder.path])
    const tarballs = (await readdir(folder.path)).filter((name) => name.endsWith('.tgz'))
    const platform = tarballs.find((name) => name.startsWith(prebuiltPackage()))!
    const project = tarballs.find((name) => /^module-assets-\d/.test(name))!
    await folder.write('service/package.json', '{"name":"service","private":true,"type":"module"}')
    const service = join(folder.path, 'service')
    // Without ONNX Runtime, which is optional too: what runs here runs natively or not at all.
    await npm(service, 'install', '--omit=optional', join(folder.path, platform), join(folder.path, project))
    const installed = join(service, 'node_modules/module-assets')
    const about = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8'))
    expect(about.optionalDependencies).toMatchObject({ [prebuiltPackage()]: about.version })
    expect(existsSync(join(installed, 'native/masset.node'))).toBe(false)
    expect(existsSync(join(installed, 'native/npm'))).toBe(false)
    expect(existsSync(join(service, 'node_modules/onnxruntime-node'))).toBe(false)

    const env = { ...process.env, MODULE_ASSETS_HOME: join(folder.path, 'store') }
    const masset = async (...args: string[]) =>
      (await run(process.execPath, [join(installed, 'dist/src/cli/main.js'), ...args], { env })).stdout
    expect(JSON.parse(await masset('doctor', '--json')).native).toMatch(new RegExp(`^present: .*, from ${prebuiltPackage()}$`))
    const cid = (await masset('fragment', join(installed, 'models/demo'), '--store')).trim()
    expect(await masset('run', cid, '--prompt', 'the 3rd of March 2021')).toBe('2021-03-03\n')
    // The project itself lists none of them: its lock file must hold for whoever installs from the registry alone.
    const { optionalDependencies } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'))
    expect(Object.keys(optionalDependencies)).toEqual(['onnxruntime-node'])
  })
})
