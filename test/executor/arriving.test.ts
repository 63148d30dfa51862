import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { addLocations, getFolder, type LoadOptions, loadModel, type Model, openStore, type Store, verify } from '../../src/api/index.js'
import { type HashedFolder, hashFolder } from '../../src/asset/hash-folder.js'
import { parseCid } from '../../src/core/cid.js'
import { writeUntied } from '../models/untied.js'
import { temporary } from '../sources/files.js'
import { folderSource } from '../transport/assets.js'
import { type Fate, type Loopback, startLoopback } from '../transport/loopback.js'
import { fragmentFor, idTensor } from './assets.js'
import { choiceOf, ENGINES, type TestEngine } from './engines.js'

const PROMPT = [5, 17, 11]
const SMALL = '8MiB'

/** An asset, what its model computes where it is there, and its blocks. */
interface Known {
  readonly cid: string
  readonly logits: Float32Array
  readonly ids: readonly number[]
  readonly blocks: Map<string, Uint8Array>
  readonly hashed: HashedFolder
}

async function logitsOf(model: Model): Promise<Float32Array> {
  return (await model.run({ input_ids: idTensor([PROMPT]) })).logits!.data as Float32Array
}

async function idsOf(model: Model, maxTokens = 4): Promise<number[]> {
  const ids: number[] = []
  for await (const { tokenId } of model.generate(PROMPT, { maxTokens, ignoreEos: true, temperature: 0 })) ids.push(tokenId)
  return ids
}

/** A promise that a test resolves. */
function signalled() {
  let resolve = () => {}
  const promise = new Promise<void>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}

/** The bytes of all files but the manifest, each content once. */
function bytesOf({ files }: HashedFolder): number {
  const distinct = new Map(files.filter(({ path }) => path !== 'asset.json').map(({ cid, size }) => [String(cid), size]))
  return [...distinct.values()].reduce((sum, size) => sum + size, 0)
}

const never = () => new Promise<Fate>(() => undefined)

const sum = (blocks: Known['blocks'], cids: readonly string[]) => cids.reduce((bytes, cid) => bytes + blocks.get(cid)!.byteLength, 0)

describe.each(ENGINES)('%s: a model that arrives', (engine: TestEngine) => {
  let known: Known
  let folder: Awaited<ReturnType<typeof temporary>>
  beforeAll(async () => {
    folder = await temporary()
    const store = await openStore(`${folder.path}/there`)
    const cid = await fragmentFor(await writeUntied(folder, 'checkpoint'), store, engine)
    await using model = await loadModel(cid, { store, engine: choiceOf(engine) })
    await getFolder(store, cid, `${folder.path}/asset`)
    const { all } = await folderSource(`${folder.path}/asset`)
    known = { cid, logits: await logitsOf(model), ids: await idsOf(model), blocks: all, hashed: await hashFolder(`${folder.path}/asset`) }
  })
  afterAll(() => folder?.[Symbol.asyncDispose]())

  let loopback: Loopback
  let home: Awaited<ReturnType<typeof temporary>>
  let store: Store
  beforeEach(async () => {
    loopback = await startLoopback(known.blocks)
    home = await temporary()
    store = await openStore(home.path)
  })
  afterEach(async () => {
    await loopback.stop()
    await home[Symbol.asyncDispose]()
  })

  const load = (options: LoadOptions = {}) =>
    loadModel(known.cid, { store, sources: [loopback.source], engine: choiceOf(engine), ...options })

  /** The leaves of a file of the asset. */
  function leavesOf(name: string): string[] {
    const file = known.hashed.files.find(({ path }) => path.endsWith(name))!
    const { leaves } = file.sums
    const digests = Array.from({ length: leaves.byteLength / 32 }, (_, at) =>
      Buffer.from(leaves.subarray(at * 32, at * 32 + 32)).toString('hex'),
    )
    const byDigest = new Map([...known.blocks.keys()].map((cid) => [Buffer.from(parseCid(cid).multihash.digest).toString('hex'), cid]))
    return digests.map((digest) => byDigest.get(digest)!)
  }

  it.each([undefined, SMALL])(
    'computes the same bits within %s, and is in the store at the end, each block fetched once',
    async (memory) => {
      {
        await using model = await load({ memory })
        expect(await idsOf(model)).toEqual(known.ids)
        expect(await logitsOf(model)).toEqual(known.logits)
        const seen: number[] = []
        await model.arrived({ onProgress: ({ done }) => seen.push(done) })
        expect(seen).toEqual(seen.toSorted((a, b) => a - b))
        expect(await model.stats()).toMatchObject({ missingBytes: 0, fetchedBytes: bytesOf(known.hashed) })
        expect(await logitsOf(model)).toEqual(known.logits)
        expect((await model.modules()).length).toBeGreaterThan(5)
      }
      expect(new Set(loopback.served).size).toBe(loopback.served.length)
      expect((await store.list()).map(({ cid }) => cid)).toEqual([known.cid])
      expect((await verify(known.cid, { store })).damage).toEqual([])
      const before = loopback.served.length
      await using model = await load({ memory })
      expect(await logitsOf(model)).toEqual(known.logits)
      expect(loopback.served).toHaveLength(before)
    },
  )

  it('gives its first token without the rows of its embedding that it does not need', async () => {
    const [needed, ...untouched] = leavesOf('embed_tokens.safetensors')
    expect(untouched).toHaveLength(4)
    const released = signalled()
    loopback.fate = async (cid): Promise<Fate> => {
      if (untouched.includes(cid)) await released.promise
      return 'serve'
    }
    await using model = await load()
    expect(await idsOf(model, 1)).toEqual(known.ids.slice(0, 1))
    const inTime = [...loopback.served]
    expect(inTime).toContain(needed)
    expect(untouched.filter((cid) => inTime.includes(cid))).toEqual([])
    const { missingBytes, fetchedBytes } = await model.stats()
    expect(missingBytes).toBeGreaterThanOrEqual(sum(known.blocks, untouched))
    expect(fetchedBytes).toBeLessThanOrEqual(sum(known.blocks, inTime))
    released.resolve()
    await model.arrived()
    expect(await store.list()).toHaveLength(1)
  })

  it('computes what is there while the rest is on its way', async () => {
    const [last] = leavesOf('lm_head.safetensors').slice(-1)
    const released = signalled()
    const reached = signalled()
    loopback.fate = async (cid): Promise<Fate> => {
      if (cid === last) {
        reached.resolve()
        await released.promise
      }
      return 'serve'
    }
    await using model = await load()
    const ids = idsOf(model, 2)
    await reached.promise
    while ((await model.stats()).missingBytes > 8 * 1024 * 1024) await new Promise((resolve) => setTimeout(resolve, 5))
    released.resolve()
    expect(await ids).toEqual(known.ids.slice(0, 2))
  })

  it.each([3, 20, 31])('goes on after the connection was cut at block %d, with what is missing only', async (at) => {
    loopback.fate = (_, index) => (index >= at ? 'cut' : 'serve')
    const attempt = async () => {
      await using model = await load()
      return await idsOf(model)
    }
    await expect(attempt()).rejects.toMatchObject({ code: 'IO' })
    expect(await store.list()).toEqual([])
    loopback.fate = () => 'serve'
    expect(await attempt()).toEqual(known.ids)
    // A leaf that makes no part of a file is not kept: files of one leaf arrive at once.
    const again = loopback.served.filter((cid, index) => loopback.served.indexOf(cid) < index && cid.startsWith('bafkrei'))
    expect(again).toEqual([])
  })

  it('a loaded model goes on itself where its source comes back', async () => {
    const lost = leavesOf('lm_head.safetensors')[2]!
    loopback.fate = (cid) => (cid === lost ? 'cut' : 'serve')
    await using model = await load()
    for (let time = 0; time < 2; time++) await expect(logitsOf(model)).rejects.toMatchObject({ code: 'IO' })
    await expect(model.arrived()).rejects.toMatchObject({ code: 'IO' })
    loopback.fate = () => 'serve'
    expect(await logitsOf(model)).toEqual(known.logits)
    await model.arrived()
    expect(new Set(loopback.served).size).toBe(loopback.served.length)
  })

  it('lets no wrong byte into the store or a pass, and takes the right ones from another source', async () => {
    const wrong = leavesOf('lm_head.safetensors')[2]!
    loopback.fate = (cid) => (cid === wrong ? 'wrong' : 'serve')
    {
      await using model = await load()
      // For another leaf there is no source left by then.
      await expect(logitsOf(model)).rejects.toMatchObject({ code: expect.stringMatching(/^(CORRUPT|NOT_FOUND)$/) })
      expect(await store.list()).toEqual([])
    }
    const honest = await startLoopback(known.blocks)
    try {
      await using model = await load({ sources: [loopback.source, honest.source] })
      expect(await logitsOf(model)).toEqual(known.logits)
      await model.arrived()
      expect(honest.served).toContain(wrong)
    } finally {
      await honest.stop()
    }
    expect((await verify(known.cid, { store })).damage).toEqual([])
  })

  it('ends a pass that is cancelled, or a model that is closed, while it waits; what has arrived is kept', async () => {
    const last = leavesOf('lm_head.safetensors').at(-1)!
    const asked = [signalled()]
    let times = 0
    loopback.fate = async (cid): Promise<Fate> => {
      if (cid !== last) return 'serve'
      asked[times++]?.resolve()
      return never()
    }
    const model = await load()
    const controller = new AbortController()
    const pass = model.run({ input_ids: idTensor([PROMPT]) }, { signal: controller.signal })
    await asked[0]!.promise
    controller.abort()
    await expect(pass).rejects.toMatchObject({ code: 'ABORTED' })
    const other = logitsOf(model)
    const refused = expect(other).rejects.toMatchObject({ code: expect.stringMatching(/^(CLOSED|ABORTED)$/) })
    await model.close()
    await refused
    loopback.fate = () => 'serve'
    const before = loopback.served.length
    await using again = await load()
    expect(await logitsOf(again)).toEqual(known.logits)
    await again.arrived()
    const twice = loopback.served.slice(before).filter((cid) => loopback.served.slice(0, before).includes(cid))
    expect(twice).toEqual([])
  })

  it.each(['a pass', 'waiting for all of it'])('%s is cancelled, and nothing else', async (which) => {
    const [held, reached] = [signalled(), signalled()]
    await using model = await load()
    loopback.fate = async (): Promise<Fate> => {
      reached.resolve()
      await held.promise
      return 'serve'
    }
    const [ofPass, ofAll] = [new AbortController(), new AbortController()]
    const arrived = model.arrived({ signal: ofAll.signal })
    const pass = model.run({ input_ids: idTensor([PROMPT]) }, { signal: ofPass.signal })
    await reached.promise
    const isPass = which === 'a pass'
    const gone = isPass ? ofPass : ofAll
    gone.abort()
    await expect(isPass ? pass : arrived).rejects.toMatchObject({ code: 'ABORTED' })
    held.resolve()
    if (!isPass) expect((await pass).logits!.data).toEqual(known.logits)
    await (isPass ? arrived : model.arrived())
    expect(await logitsOf(model)).toEqual(known.logits)
  })

  it('loading is cancelled while it waits', async () => {
    const controller = new AbortController()
    loopback.fate = (_, index) => {
      if (index < 4) return 'serve'
      controller.abort()
      return never()
    }
    await expect(load({ signal: controller.signal })).rejects.toMatchObject({ code: 'ABORTED' })
  })

  it('a process that is killed leaves what has arrived to the next one', async () => {
    const reached = signalled()
    loopback.fate = (_, index) => {
      if (index < 24) return 'serve'
      reached.resolve()
      return never()
    }
    const script = fileURLToPath(new URL('arriving-child.js', import.meta.url))
    const child = spawn(process.execPath, [script, known.cid, store.path, loopback.source, choiceOf(engine)], { stdio: 'inherit' })
    await reached.promise
    // What was served last is on its way into the store.
    while (loopback.served.length < 24) await new Promise((resolve) => setTimeout(resolve, 5))
    await new Promise((resolve) => setTimeout(resolve, 200))
    child.kill('SIGKILL')
    await once(child, 'exit')
    const before = loopback.served.length
    loopback.fate = () => 'serve'
    await using model = await load()
    expect(await logitsOf(model)).toEqual(known.logits)
    await model.arrived()
    const twice = loopback.served.slice(before).filter((cid) => loopback.served.slice(0, before).includes(cid))
    expect(twice).toEqual([])
    expect((await verify(known.cid, { store })).damage).toEqual([])
  })

  it('takes what is noted for the asset where no sources are given', async () => {
    await expect(load({ sources: undefined })).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await addLocations(store, known.cid, [loopback.source.replace('gateway:', '')])
    await expect(load({ sources: [] })).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await using model = await load({ sources: undefined })
    expect(await logitsOf(model)).toEqual(known.logits)
  })

  it('asks nobody where the asset is in the store, and takes MODULE_ASSETS_SOURCES where it is not', async () => {
    process.env.MODULE_ASSETS_SOURCES = ` ${loopback.source},`
    try {
      await using model = await load({ sources: undefined })
      expect(await logitsOf(model)).toEqual(known.logits)
    } finally {
      delete process.env.MODULE_ASSETS_SOURCES
    }
    const there = await openStore(`${folder.path}/there`)
    const before = loopback.served.length
    await using model = await load({ store: there })
    await model.arrived()
    expect(await model.stats()).toMatchObject({ fetchedBytes: 0, missingBytes: 0 })
    expect(loopback.served).toHaveLength(before)
  })
})

it('refuses sources that are none', async () => {
  const cid = String(parseCid('bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi'))
  await using home = await temporary()
  const store = await openStore(home.path)
  await expect(loadModel(cid, { store, sources: ['ftp://x'] })).rejects.toMatchObject({ code: 'BAD_USAGE' })
  await expect(loadModel(cid, { store, sources: 'x' as never })).rejects.toMatchObject({ code: 'BAD_USAGE' })
})
