import { execFile } from 'node:child_process'
import { cp, readdir, readFile, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { NoAddon, prebuiltPackage, searchAddon } from '../../src/engines/native/find-addon.js'
import { temporary } from '../sources/files.js'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const missing = () => Object.assign(new Error('Cannot find module'), { code: 'MODULE_NOT_FOUND' })

describe('the addon is looked for', () => {
  const addon = { instructionSets: () => ['x'] }
  const places = (built: unknown, prebuilt: unknown) =>
    searchAddon((place) => {
      const found = place.endsWith('.node') ? built : prebuilt
      if (found instanceof Error) throw found
      return found
    })

  it('where it is built, then in the package for the platform', () => {
    expect(places(addon, {})).toEqual({ addon, from: 'native/masset.node' })
    expect(places(missing(), addon)).toEqual({ addon, from: prebuiltPackage() })
    expect(places(new Error('file too short'), addon)).toEqual({ addon, from: prebuiltPackage() })
  })

  it('and where it is nowhere, or broken, that is told apart', () => {
    const nowhere = places(missing(), missing()) as NoAddon
    expect(nowhere).toBeInstanceOf(NoAddon)
    expect(nowhere.broken).toBe(false)
    const broken = places(new Error('file too short\nmore'), missing()) as NoAddon
    expect(broken).toMatchObject({ broken: true, message: `native/masset.node: file too short; ${prebuiltPackage()}: not there` })
    expect((places(missing(), new Error('wrong ABI')) as NoAddon).broken).toBe(true)
  })

  it('each platform has a package of this version that holds its addon and nothing else', async () => {
    const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'))
    const targets = ['linux-x64', 'linux-arm64', 'darwin-arm64', 'darwin-x64', 'win32-x64']
    const found: string[] = []
    for (const target of await readdir(join(ROOT, 'native/npm'))) {
      const about = JSON.parse(await readFile(join(ROOT, 'native/npm', target, 'package.json'), 'utf8'))
      const [os, cpu] = [about.os[0], about.cpu[0]]
      expect(about).toMatchObject({ name: `module-assets-${target}`, version, main: 'masset.node', files: ['masset.node'] })
      expect(about.name).toBe(prebuiltPackage(os, cpu))
      expect(about.libc).toEqual(os === 'linux' ? ['glibc'] : undefined)
      found.push(`${os}-${cpu}`)
    }
    expect(found.sort()).toEqual(targets.sort())
  })
})

describe('an addon that is there and broken', () => {
  it('is told of once where another engine can run, and is the error where none else may', async () => {
    await using folder = await temporary()
    for (const part of ['dist/src', 'dist/models', 'package.json', 'models/demo'])
      await cp(join(ROOT, part), join(folder.path, part), { recursive: true })
    await symlink(join(ROOT, 'node_modules'), join(folder.path, 'node_modules'))
    await folder.write('native/masset.node', 'this is no library')
    const masset = (...args: string[]) =>
      new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
        const env = { ...process.env, MODULE_ASSETS_HOME: `${folder.path}/store` }
        execFile(process.execPath, [join(folder.path, 'dist/src/cli/main.js'), ...args], { env }, (error, stdout, stderr) =>
          resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
        )
      })
    const cid = (await masset('fragment', join(folder.path, 'models/demo'), '--store')).stdout.trim()
    const auto = await masset('run', cid, '--prompt', '4 April 1999')
    expect(auto).toMatchObject({ code: 0, stdout: '1999-04-04\n' })
    expect(
      auto.stderr.match(/Warning: Cannot load the native engine, so models run in ONNX Runtime: native\/masset\.node: /g),
    ).toHaveLength(1)
    const native = await masset('run', cid, '--prompt', '4 April 1999', '--engine', 'native')
    expect(native).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^masset: Cannot run natively: the native engine can't be loaded \(native\/masset\.node: [^\n]+\n$/),
    })
    expect((await masset('run', cid, '--prompt', '4 April 1999', '--engine', 'onnx')).stderr).toBe('')
    expect((await masset('doctor')).stdout).toMatch(/native +broken, so models run in ONNX Runtime: native\/masset\.node: /)
  })
})
