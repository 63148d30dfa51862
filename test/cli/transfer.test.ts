import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { CarWriter } from '@ipld/car/writer'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeInto, openStore } from '../../src/api/index.js'
import { hasKubo, startKubo } from '../kubo.js'
import { temporary } from '../sources/files.js'
import { folderSource, noise, type Source, writeAssetFolder } from '../transport/assets.js'
import { serveBlocks } from '../transport/serve-blocks.js'

const CLI = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))
const ABSENT = 'bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi'
const NOBODY = 'http://127.0.0.1:9'

describe('masset, to other machines and back', () => {
  let folder: Awaited<ReturnType<typeof temporary>>
  let cid: string
  let source: Source
  const masset = (args: readonly string[], store = 'store') =>
    new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
      const env = { ...process.env, MODULE_ASSETS_HOME: `${folder.path}/${store}`, MODULE_ASSETS_SOURCES: '' }
      execFile(process.execPath, [CLI, ...args], { env }, (error, stdout, stderr) =>
        resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
      )
    })
  beforeAll(async () => {
    folder = await temporary()
    await folder.write('tool/run.js', 'run')
    await folder.write('tool/data/large', noise(2 * 1024 * 1024 + 9, 1))
    cid = await encodeInto(await openStore(`${folder.path}/store`), `${folder.path}/tool`)
    source = await folderSource(await writeAssetFolder(folder, 'other', { a: noise(300, 2), b: noise(1024 * 1024 + 1, 3) }))
  })
  afterAll(() => folder[Symbol.asyncDispose]())

  /** A CAR with the blocks of {@link source} that names these roots. */
  async function carWith(name: string, roots: readonly string[]): Promise<string> {
    const { CID } = await import('multiformats/cid')
    const { writer, out } = CarWriter.create(roots.map((root) => CID.parse(root)))
    const parts: Uint8Array[] = []
    const done = (async () => {
      for await (const part of out) parts.push(part)
    })()
    for (const [key, bytes] of source.all) await writer.put({ cid: CID.parse(key), bytes })
    await writer.close()
    await done
    return folder.write(name, Buffer.concat(parts))
  }

  it('exports an asset as a CAR and imports it elsewhere, as text and as JSON', async () => {
    const car = `${folder.path}/tool.car`
    const exported = await masset(['export', cid, car, '--json'])
    const { file, blocks } = JSON.parse(exported.stdout)
    expect([exported.code, file, exported.stderr]).toEqual([0, car, expect.stringMatching(/^wrote \d+ blocks, 2\.0 MiB\n$/)])
    expect(blocks).toBeGreaterThan(5)
    expect(await masset(['import', car], 'elsewhere')).toEqual({ code: 0, stdout: `${cid}\n`, stderr: '3 files, 2.0 MiB\n' })
    expect(JSON.parse((await masset(['import', car, '--json'], 'elsewhere')).stdout)).toMatchObject({ cid, fetched: { blocks: 0 } })
    expect(await masset(['export', cid, `${folder.path}/again.car`], 'elsewhere')).toMatchObject({ code: 0, stdout: '' })
    expect((await readFile(car)).equals(await readFile(`${folder.path}/again.car`))).toBe(true)
  })

  it('imports a CAR with several roots or none where it is told which one is the asset', async () => {
    const root = String(source.cid)
    const leaf = [...source.all.keys()][0]!
    for (const [name, roots, count] of [
      ['none', [], 0],
      ['several', [leaf, root], 2],
    ] as const) {
      const car = await carWith(`${name}.car`, roots)
      const refused = await masset(['import', car], name)
      expect(refused).toMatchObject({ code: 1, stdout: '' })
      expect(refused.stderr).toBe(`masset: Cannot import ${car}: it has ${count} roots; say which CID is the asset's\n`)
      expect(await masset(['import', car, ABSENT], name)).toMatchObject({ code: 1, stderr: expect.stringContaining('no source has it') })
      expect(await masset(['ls', '--json'], name)).toMatchObject({ stdout: '[]\n' })
      expect(await masset(['import', car, root], name)).toMatchObject({ code: 0, stdout: `${root}\n` })
      expect(await masset(['verify', root], name)).toMatchObject({ code: 0 })
    }
  })

  it.runIf(hasKubo)('pushes to a node, which has it then, and says what it had', async () => {
    await using kubo = await startKubo()
    const pushed = await masset(['push', cid, '--to', kubo.api, '--pin'])
    expect(pushed).toMatchObject({ code: 0, stdout: `${cid}\n` })
    expect(pushed.stderr).toMatch(/^sent \d+ blocks, 2\.0 MiB; the node had 0 blocks, 0 B; pinned\n$/)
    expect(await kubo.exec('cat', `${cid}/run.js`)).toBe('run')
    const again = await masset(['push', cid, '--to', kubo.api, '--json'])
    expect(JSON.parse(again.stdout)).toMatchObject({ cid, sent: { blocks: 0, bytes: 0 }, pinned: false })
  })

  it('decodes a folder out of the store and from a source', async () => {
    expect(await masset(['decode', cid, `${folder.path}/out`])).toMatchObject({ code: 0, stdout: '' })
    expect(await readFile(`${folder.path}/out/run.js`, 'utf8')).toBe('run')
    await using gateway = await serveBlocks(source.all)
    const decoded = await masset(['decode', String(source.cid), `${folder.path}/theirs`, '--from', gateway.source, '--json'], 'empty')
    expect(JSON.parse(decoded.stdout)).toMatchObject({ cid: String(source.cid), files: 3 })
    expect((await readFile(`${folder.path}/theirs/a`)).equals(noise(300, 2))).toBe(true)
  })

  it('says in one line what is wrong, with the exit code for it', async () => {
    const out = `${folder.path}/never`
    const failures: [string[], number, RegExp][] = [
      [['push', ABSENT, '--to', NOBODY], 1, /not|Cannot find/],
      [['push', 'nonsense'], 1, /neither the CID of an asset nor a folder/],
      [['push', cid, '--to', NOBODY], 1, /nothing answers there.*; start it with "ipfs daemon"/],
      [['push', cid, '--to', 'localhost:5001'], 2, /give one such as http:/],
      [['push', cid, '--to', 'http://user:secret@127.0.0.1:9'], 1, /^(?!.*secret)/],
      [['export', ABSENT, out], 1, /masset ls|not/],
      [['export', cid, `${folder.path}/tool`], 2, /exists already/],
      [['export', cid, `${folder.path}/no/where.car`], 1, /no such file or folder/],
      [['import', `${folder.path}/nowhere.car`], 1, /no such file or folder/],
      [['import', `${folder.path}/tool/run.js`], 1, /CAR/],
      [['import', `${folder.path}/tool`], 1, /it is not a file/],
      [['decode', 'nonsense', out], 1, /it is not a CID/],
      [['decode', cid, `${folder.path}/tool`], 2, /exists already|not empty/],
      [['decode', ABSENT, out], 1, /no source is named/],
      [['encode', `${folder.path}/nowhere`], 1, /no such file or folder/],
      [['locations', 'nonsense'], 1, /it is not a CID/],
      [['locations', cid, 'add', 'nonsense'], 2, /Cannot/],
      [['locations', cid, 'add'], 2, /give "add" or "remove", and the URIs/],
      [['pin', ABSENT], 1, /Cannot/],
      [['rm', ABSENT], 1, /Cannot/],
      [['verify', ABSENT, '--repair'], 1, /it is not in the store; pull it/],
      [['gateway', '--port', '70000'], 2, /a whole number from 0 to 65535/],
      [['gateway', '--host', '203.0.113.9', '--port', '0'], 1, /this machine has no such address/],
    ]
    for (const [args, code, line] of failures) {
      const outcome = await masset(args)
      expect([args, outcome.code, outcome.stdout]).toEqual([args, code, ''])
      expect(outcome.stderr).toMatch(/^masset: Cannot [^\n]+\n$/)
      expect(outcome.stderr).toMatch(line)
    }
  })

  it('every command says what it is for, with an example', async () => {
    const { stdout } = await masset(['--help'])
    const commands = [...stdout.matchAll(/^ {2}([a-z]+)[ |]/gm)].map(([, name]) => name!).filter((name) => name !== 'help')
    expect(commands).toEqual(expect.arrayContaining(['push', 'pull', 'export', 'import', 'gateway', 'gc', 'pin', 'encode', 'locations']))
    for (const name of commands)
      expect([name, (await masset([name, '--help'])).stdout]).toEqual([name, expect.stringMatching(/\nExamples?:\n {2}\$ masset /)])
  })
})
