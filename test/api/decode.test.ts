import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addLocations, decode, encode, openStore } from '../../src/api/index.js'
import { QUICK, readTree, treeHash } from '../hostile/trees.js'
import { hasKubo, startKubo } from '../kubo.js'
import { makeShapes, serveShapes } from '../server/shapes.js'
import { temporary } from '../sources/files.js'

const CLI = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))

describe('decode', () => {
  let folder: Awaited<ReturnType<typeof temporary>>
  let served: Awaited<ReturnType<typeof serveShapes>>
  let empty: Awaited<ReturnType<typeof openStore>>
  const inFolder = (path: string) => join(folder.path, path)
  beforeAll(async () => {
    folder = await temporary(QUICK)
    served = await serveShapes(folder.path)
    empty = await openStore(inFolder('empty'))
  })
  afterAll(async () => {
    await served?.gateway.close()
    await folder?.[Symbol.asyncDispose]()
  })

  const hashOf = (path: string) => treeHash(readTree(inFolder(path)))

  it('writes what encode has hashed: an asset, a part of one, and a single file, out of the store', async () => {
    const { store, cid } = served
    await decode(cid, inFolder('whole'), { store })
    expect((await encode(inFolder('whole'))).cid).toBe(cid)
    const { cid: part, files } = await encode(inFolder('shapes/in folders'))
    const fetched = await decode(part, inFolder('part'), { store })
    expect(fetched).toMatchObject({ kind: 'folder', files: files.size })
    expect(hashOf('part')).toBe(hashOf('shapes/in folders'))
    expect(await decode(files.get('twice')!, inFolder('a file'), { store })).toMatchObject({ kind: 'file', files: 1, bytes: 3145729 })
    expect(Buffer.compare(await readFile(inFolder('a file')), await readFile(inFolder('shapes/in folders/twice')))).toBe(0)
    await expect(readdir(`${store.path}/uses`)).resolves.toEqual([])
  })

  it('gets what the store lacks from the sources given, else from where the store says that it may be had', async () => {
    const { cid } = await encode(inFolder('shapes/in folders'))
    const source = `gateway:${served.gateway.address}`
    await decode(cid, inFolder('given'), { store: empty, from: [source] })
    expect(hashOf('given')).toBe(hashOf('shapes/in folders'))
    await expect(decode(cid, inFolder('none'), { store: empty })).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await addLocations(empty, cid, [served.gateway.address])
    await decode(cid, inFolder('noted'), { store: empty })
    expect(hashOf('noted')).toBe(hashOf('shapes/in folders'))
    expect(await empty.list()).toEqual([])
  })

  it('refuses what is there already and what is no CID, and leaves nothing behind', async () => {
    const { store, cid } = served
    const before = await readdir(folder.path)
    await expect(decode(cid, inFolder('shapes'), { store })).rejects.toMatchObject({ code: 'BAD_USAGE' })
    await expect(decode('nonsense', inFolder('x'), { store })).rejects.toMatchObject({ code: 'BAD_INPUT' })
    await expect(decode(cid, inFolder('x'), { store, signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' })
    expect(await readdir(folder.path)).toEqual(before)
  })

  it('works on the command line', async () => {
    const { cid } = await encode(inFolder('shapes/in folders'))
    const env = { ...process.env, MODULE_ASSETS_HOME: empty.path }
    const args = ['decode', cid, inFolder('by command'), '--json', '--from', `gateway:${served.gateway.address}`]
    const { stdout } = await promisify(execFile)(process.execPath, [CLI, ...args], { env })
    expect(JSON.parse(stdout)).toMatchObject({ cid, kind: 'folder', files: 3 })
    expect(hashOf('by command')).toBe(hashOf('shapes/in folders'))
  })

  it.runIf(hasKubo)('writes what Kubo has made in its own older ways', async () => {
    await using kubo = await startKubo()
    await mkdir(inFolder('made'))
    await makeShapes(inFolder('made/shapes'))
    for (const [at, options] of [
      ['--cid-version=0', '--raw-leaves=false', '--chunker=size-262144'],
      ['--trickle', '--chunker=size-100000'],
    ].entries()) {
      const cid = await kubo.exec('add', '--recursive', '--hidden', '--quieter', '--pin=false', ...options, inFolder('made/shapes'))
      await decode(cid, inFolder(`kubo ${at}`), { store: empty, from: [`kubo:${kubo.api}`] })
      expect(hashOf(`kubo ${at}`)).toBe(hashOf('made/shapes'))
    }
  })
})
