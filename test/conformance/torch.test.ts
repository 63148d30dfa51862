import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fragment, seal, verify } from '../../src/api/index.js'
import { openCheckpoint } from '../../src/sources/open.js'
import { scatter, windowsOf } from '../../src/sources/strided.js'
import { sharedModel } from '../shared.js'
import { temporary } from '../sources/files.js'

const scriptOf = (name: string) => fileURLToPath(new URL(`../../../scripts/${name}`, import.meta.url))
const python = process.env.MASSET_PYTHON ?? 'python3'

function hasTorch(): boolean {
  try {
    execFileSync(python, ['-c', 'import torch, numpy'], { stdio: 'ignore' })
    return true
  } catch {
    console.warn('skipped: torch and numpy are not installed for python3 (MASSET_PYTHON names another)')
    return false
  }
}

const run = (script: string, ...args: string[]) =>
  execFileSync(python, [scriptOf(script), ...args], { encoding: 'utf8', env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' } })

describe.runIf(hasTorch())('what torch saves', { timeout: 300_000 }, () => {
  let folder: Awaited<ReturnType<typeof temporary>>
  let expected: Record<string, Record<string, [string, number[], string]>>
  beforeAll(async () => {
    folder = await temporary()
    run('torch-fixtures.py', folder.path)
    expected = JSON.parse(await readFile(`${folder.path}/expected.json`, 'utf8'))
  }, 300_000)
  afterAll(() => folder[Symbol.asyncDispose]())

  it('has the tensors, types, shapes and bytes that torch says', async () => {
    expect(Object.keys(expected).length).toBeGreaterThan(15)
    for (const [name, tensors] of Object.entries(expected)) {
      const path = `${folder.path}/${name}`
      const bytes = await readFile(path)
      const found: typeof tensors = {}
      for (const [key, { dtype, shape, offset, strided, length }] of (await openCheckpoint(path)).tensors) {
        const dense = new Uint8Array(length)
        for (const window of windowsOf(offset, strided, 0, length))
          scatter(window, bytes.subarray(window.position, window.position + window.length), dense)
        found[key] = [dtype, [...shape], createHash('sha256').update(dense).digest('hex')]
      }
      expect({ [name]: found }).toEqual({ [name]: tensors })
    }
  })

  it('written by fragment.py and sealed is the asset of the saved file, byte for byte', async () => {
    const saved = await fragment(`${folder.path}/odd.pt`, { out: `${folder.path}/odd-saved` })
    expect(await seal(`${folder.path}/odd`)).toEqual(saved)
    const files = async (path: string) => (await readdir(path, { recursive: true })).sort()
    expect(await files(`${folder.path}/odd`)).toEqual(await files(`${folder.path}/odd-saved`))
  })

  it('in wrappers, or as TorchScript, is the same by fragment.py', async () => {
    for (const name of ['training-zip.pt', 'parallel.pt', 'views-stacked.pt', 'script.jit']) {
      const saved = await fragment(`${folder.path}/${name}`, { out: `${folder.path}/${name}-saved` })
      run('fragment.py', `${folder.path}/${name}`, `${folder.path}/${name}-python`)
      expect((await seal(`${folder.path}/${name}-python`)).cid).toBe(saved.cid)
    }
  })

  // tiny-gpt2 and stories260k tie their embeddings: fragment.py writes both, the family says which stays.
  const models = ['tiny-llama', 'tiny-gpt2', 'tiny-bert', 'stories260k'].filter(sharedModel)
  it.each(models)('%s by fragment.py and seal has the CID of the checkpoint', async (name) => {
    const source = sharedModel(name)!
    const place = `${folder.path}/${name}`
    await mkdir(place)
    await folder.write(`${name}/config.json`, await readFile(`${source}/config.json`))
    await folder.write(`${name}/pytorch_model.bin`, await readFile(`${source}/pytorch_model.bin`))
    const saved = await fragment(place, { out: `${place}-saved` })
    run('fragment.py', `${source}/pytorch_model.bin`, `${place}-python`, '--config', `${source}/config.json`)
    expect(await seal(`${place}-python`)).toEqual(saved)
    expect(await verify(`${place}-python`)).toMatchObject({ cid: saved.cid, damage: [] })
  })
})
