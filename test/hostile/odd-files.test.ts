import { execFile } from 'node:child_process'
import { mkdir, open, readdir, rm, symlink, truncate } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { AssetError, fragment, getFolder, inspect, openStore, plan, putFolder, seal, verify } from '../../src/api/index.js'
import { checkpointBytes, temporary } from '../sources/files.js'

const DEMO = fileURLToPath(new URL('../../../models/demo', import.meta.url))
const HEAD = 'modules/lm_head.safetensors'

/** What may lie where a file should: each is waited for, or read without end, by a careless reader. */
const ODD: Record<string, (path: string) => Promise<unknown>> = {
  'a pipe': (path) => promisify(execFile)('mkfifo', [path]),
  'a link to a device without end': (path) => symlink('/dev/zero', path),
  'a folder': (path) => mkdir(path),
  'a link to nowhere': (path) => symlink('/nowhere/at/all', path),
}

/** Puts something odd in the place of a file. */
async function replace(path: string, what: string): Promise<void> {
  await rm(path, { recursive: true, force: true })
  await ODD[what]!(path)
}

const refusal = (call: Promise<unknown>) =>
  call.then(
    () => 'it was taken',
    (error: unknown) => (error instanceof AssetError ? `${error.code} ${error.message}` : String(error)),
  )

describe.skipIf(process.platform === 'win32')('where a file should be there is', () => {
  it.each(Object.keys(ODD))('%s: an asset folder is read to its end, and it is named', async (what) => {
    await using folder = await temporary()
    const out = `${folder.path}/out`
    await fragment(DEMO, { out })
    await replace(`${out}/${HEAD}`, what)
    const { damage } = await verify(out)
    expect(damage).toEqual([expect.stringMatching(/^Cannot (open|read) modules\/lm_head\.safetensors of .*(not a file|no such file)/)])
    const store = await openStore(`${folder.path}/store`)
    const calls: (() => Promise<unknown>)[] = [() => inspect(out), () => plan(out, { memory: '1MiB' }), () => putFolder(store, out)]
    // A folder is a module with submodules to it.
    if (what !== 'a folder') calls.push(() => seal(out))
    for (const call of calls) expect(await refusal(call())).toMatch(/^(BAD_INPUT|NOT_FOUND) Cannot (open|read) [^\n]*lm_head\.safetensors/)
    expect(await readdir(`${folder.path}/store/tmp`)).toEqual([])
  })

  it.each(Object.keys(ODD))('%s: an asset in a store is read to its end, and it is named', async (what) => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const { cid } = await fragment(DEMO, { store })
    const { manifest } = await store.describe(cid)
    const path = store.layout.file(String(manifest.files.get(HEAD)!.cid))
    await replace(path, what)
    expect((await verify(cid, { store })).damage).toEqual([expect.stringContaining(`${HEAD} of ${cid}`)])
    expect(await refusal(getFolder(store, cid, `${folder.path}/got`))).toContain(`${HEAD} of ${cid}`)
    await rm(path, { recursive: true })
    await fragment(DEMO, { store })
    await replace(`${path}.sums`, what)
    expect((await verify(cid, { store })).damage).toEqual([expect.stringContaining('checksums')])
    expect((await readdir(folder.path)).sort()).toEqual(['store'])
  })

  it.each(Object.keys(ODD))('%s: it is not left out of a new asset without a word', async (what) => {
    await using folder = await temporary()
    const code = what === 'a link to nowhere' ? 'NOT_FOUND' : 'BAD_INPUT'
    await folder.write('in/model.safetensors', checkpointBytes(['a.weight']))
    await fragment(`${folder.path}/in`, { out: `${folder.path}/sealed` })
    await mkdir(`${folder.path}/in/1_Pooling`)
    for (const name of ['tokenizer.json', 'config.json', 'README.md', '1_Pooling/config.json']) {
      await replace(`${folder.path}/in/${name}`, what)
      expect(await refusal(fragment(`${folder.path}/in`, { out: `${folder.path}/out` }))).toMatch(
        new RegExp(`^${code} Cannot (open|read) [^\\n]*/in/${name}: `),
      )
      await rm(`${folder.path}/in/${name}`, { recursive: true })
    }
    await replace(`${folder.path}/sealed/tokenizer.json`, what)
    expect(await refusal(seal(`${folder.path}/sealed`))).toMatch(new RegExp(`^${code} .*tokenizer\\.json`))
  })

  it('a folder of licences: it is no file to be carried along', async () => {
    await using folder = await temporary()
    await folder.write('in/model.safetensors', checkpointBytes(['a.weight']))
    await folder.write('in/LICENSES/MIT.txt', 'text')
    await folder.write('in/LICENSE.md', 'text')
    await fragment(`${folder.path}/in`, { out: `${folder.path}/out` })
    expect((await inspect(`${folder.path}/out`)).files.map(({ path }) => path)).toContain('LICENSE.md')
  })

  it('far more than should be: no more of it is read or copied than tells so', async () => {
    await using folder = await temporary()
    const out = `${folder.path}/out`
    await fragment(DEMO, { out })
    await truncate(`${out}/${HEAD}`, 2 ** 42) // holes; to read them all would take an hour
    expect((await verify(out)).damage).toEqual([expect.stringMatching(/lm_head.*it has 4398046511104 bytes, expected \d+/)])
    const store = await openStore(`${folder.path}/store`)
    expect(await refusal(putFolder(store, out))).toMatch(/^CORRUPT .*lm_head.*it has 4398046511104 bytes/)
  })
})

describe('an asset got out of a store', () => {
  it('is compared with its CIDs on the way: damage is named, and no folder stays', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const { cid } = await fragment(DEMO, { store })
    const { manifest } = await store.describe(cid)
    const handle = await open(store.layout.file(String(manifest.files.get(HEAD)!.cid)), 'r+')
    await handle.write(Buffer.from([0xaa]), 0, 1, 5000)
    await handle.close()
    expect(await refusal(getFolder(store, cid, `${folder.path}/out`))).toMatch(/^CORRUPT Cannot read modules\/lm_head.*its content is/)
    expect(await readdir(folder.path)).toEqual(['store'])
  })

  it('can be cancelled, and says how far it is', async () => {
    await using folder = await temporary()
    const store = await openStore(`${folder.path}/store`)
    const { cid, bytes } = await fragment(DEMO, { store })
    const seen = new Map<string, number>()
    await getFolder(store, cid, `${folder.path}/out`, { onProgress: ({ phase, done }) => seen.set(phase, done) })
    expect([...seen]).toEqual([
      ['write', bytes],
      ['verify', bytes],
    ])
    const controller = new AbortController()
    const cancelled = getFolder(store, cid, `${folder.path}/other`, { signal: controller.signal, onProgress: () => controller.abort() })
    expect(await refusal(cancelled)).toMatch(/^ABORTED /)
    expect((await readdir(folder.path)).sort()).toEqual(['out', 'store'])
  })
})
