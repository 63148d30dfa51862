import { execFile } from 'node:child_process'
import { cp } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fragment } from '../../src/api/index.js'
import { measureOwnMemory } from '../../src/cli/own-memory.js'
import { type TestStore, testStore } from './assets.js'
import { ENGINES } from './engines.js'

const DEMO = fileURLToPath(new URL('../../../models/demo', import.meta.url))
const API = new URL('../../src/api/index.js', import.meta.url).href

// Tells of every module that any thread imports, and at the end which files are mapped.
const HOOK = `data:text/javascript,${encodeURIComponent(`
  import { register } from 'node:module'
  register('data:text/javascript,' + encodeURIComponent(\`
    import { writeSync } from 'node:fs'
    export async function load(url, context, next) {
      writeSync(2, 'imported ' + url + '\\\\n')
      return next(url, context)
    }
  \`))
`)}`

describe('a process that runs a model', () => {
  let assets: TestStore
  let cid: string
  beforeAll(async () => {
    assets = await testStore()
    for (const file of ['config.json', 'model.safetensors']) await cp(`${DEMO}/${file}`, `${assets.home}/in/${file}`)
    cid = (await fragment(`${assets.home}/in`, { store: assets.store })).cid
  })
  afterAll(() => assets.remove())

  /** The packages that it imported, in whichever thread, and the shared libraries that it loaded. */
  async function loaded(engine: string, asset: string): Promise<{ packages: string[]; libraries: string[] }> {
    const script = `const { loadModel } = await import(${JSON.stringify(API)})
      const model = await loadModel('${asset}', { engine: '${engine}' })
      for await (const _ of model.generate([1, 2, 3], { maxTokens: 4, ignoreEos: true }));
      const { existsSync, readFileSync } = await import('node:fs')
      const maps = '/proc/self/maps'
      if (existsSync(maps)) process.stdout.write(readFileSync(maps, 'utf8'))
      await model.close()`
    const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
      env: { ...process.env, MODULE_ASSETS_HOME: assets.home, NODE_OPTIONS: `--import ${HOOK}` },
      maxBuffer: 1 << 26,
    })
    const packages = new Set([...stderr.matchAll(/^imported .*\/node_modules\/((?:@[^/]+\/)?[^/]+)/gm)].map((match) => match[1]!))
    const libraries = new Set([...stdout.matchAll(/\/([^/\s]+\.(?:node|so)[.\d]*)$/gm)].map((match) => match[1]!))
    return { packages: [...packages].sort(), libraries: [...libraries] }
  }
  const withProc = process.platform === 'linux'

  it.runIf(ENGINES.includes('native'))(
    'natively imports and loads nothing of ONNX Runtime, of tokenizers, of what writes assets',
    async () => {
      const { packages, libraries } = await loaded('native', cid)
      expect(packages).toContain('onnxruntime-common')
      expect(packages).toContain('@bufbuild/protobuf')
      for (const name of ['onnxruntime-node', 'piscina', '@huggingface/tokenizers', '@huggingface/jinja', 'commander', 'cli-progress'])
        expect(packages).not.toContain(name)
      if (!withProc) return
      expect(libraries).toContain('masset.node')
      expect(libraries.filter((name) => name.includes('onnxruntime'))).toEqual([])
    },
  )

  it('in ONNX Runtime loads that, and still nothing of what writes assets', async () => {
    const { packages, libraries } = await loaded('onnx', cid)
    expect(packages).toContain('onnxruntime-node')
    expect(packages).not.toContain('piscina')
    if (withProc) expect(libraries.some((name) => name.includes('onnxruntime'))).toBe(true)
  })

  it.runIf(withProc && ENGINES.includes('native'))('takes less than 100 MB beside weights and caches', async () => {
    const { engine, bytes } = await measureOwnMemory()
    expect(engine).toBe('native')
    expect(bytes).toBeGreaterThan(30e6)
    expect(bytes).toBeLessThan(100e6)
  })
})
