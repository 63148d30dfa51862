import { execFile, spawn } from 'node:child_process'
import { cp, readdir, readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fragment, loadModel, type Model, plan } from '../../src/api/index.js'
import { joinExecutor } from '../../src/executor/client.js'
import { fragmentFor, type TestStore, testStore } from './assets.js'
import { choiceOf, ENGINES } from './engines.js'

const DEMO = fileURLToPath(new URL('../../../models/demo', import.meta.url))
const CLI = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))
const API = new URL('../../src/api/index.js', import.meta.url).href
const DATE = 'the 3rd of March 2021'

describe.each(ENGINES)('the life of a model in %s', (engine) => {
  const choice = choiceOf(engine)
  let assets: TestStore
  let cid: string
  const load = (options: Parameters<typeof loadModel>[1] = {}) => loadModel(cid, { store: assets.store, engine: choice, ...options })
  beforeAll(async () => {
    assets = await testStore()
    cid = await fragmentFor(DEMO, assets.store, engine)
  })
  afterAll(() => assets.remove())

  /** A generation that has given its first token. */
  async function begun(model: Model): Promise<AsyncGenerator<unknown>> {
    const items = model.generate(DATE, { ignoreEos: true, maxTokens: 1000 })
    expect((await items.next()).done).toBe(false)
    return items
  }

  it.each([0, 1])('closed in the middle of a generation, with %i other models loaded, ends it with CLOSED', async (others) => {
    const other = others > 0 ? await load() : undefined
    const model = await load()
    const [waiting, resting] = [await begun(model), await begun(model)]
    // A token that was under way may still arrive; then the next one says that the model is closed.
    const rest = (async () => {
      for await (const _ of waiting);
    })()
    const ended = expect(rest).rejects.toMatchObject({ code: 'CLOSED' })
    await model.close()
    await ended
    await expect(resting.next()).rejects.toMatchObject({ code: 'CLOSED' })
    expect(await resting.return(undefined)).toMatchObject({ done: true })
    for (const call of [model.stats(), model.embed(['x']), model.run({}), model.modules(), model.generate(DATE).next()])
      await expect(call).rejects.toMatchObject({ code: 'CLOSED' })
    await model.close()
    await other?.close()
  })

  it('when the executor dies, every call says so, and closing still works', async () => {
    const model = await load()
    const client = joinExecutor() as unknown as { worker: { terminate(): Promise<unknown> }; leave(): Promise<void> }
    const items = await begun(model)
    await client.worker.terminate()
    await expect(items.next()).rejects.toMatchObject({ code: 'CLOSED', message: expect.stringContaining('executor has ended') })
    await expect(model.stats()).rejects.toMatchObject({ code: 'CLOSED' })
    await model.close()
    await client.leave()
    await using again = await load()
    expect((await again.stats()).passes).toBe(0)
  })

  it('a load that is aborted at its first step is not finished, and its asset is let go of', async () => {
    const marks = () => readdir(assets.store.layout.uses)
    const before = await marks()
    const controller = new AbortController()
    const onProgress = () => controller.abort(new Error('enough'))
    const loading = load({ signal: controller.signal, ...(engine !== 'native' && { onProgress }) })
    if (engine === 'native') controller.abort(new Error('enough'))
    await expect(loading).rejects.toMatchObject({ code: 'ABORTED', cause: expect.objectContaining({ message: 'enough' }) })
    expect(await marks()).toEqual(before)
  })

  // The native engine loads in one step, of which nothing is told.
  if (engine !== 'native')
    it('a progress listener that throws ends the load with its error, not the process', async () => {
      await using other = await load()
      const onProgress = () => {
        throw new Error('listener')
      }
      await expect(load({ onProgress })).rejects.toThrow('listener')
      expect((await other.stats()).passes).toBe(0)
    })

  if (engine !== 'native')
    it('a load that is given up while no other model is loaded ends the executor, never the process', async () => {
      const script = `const { loadModel, openStore } = await import(${JSON.stringify(API)})
        const store = await openStore(${JSON.stringify(assets.home)})
        const onProgress = () => { throw new Error('listener') }
        for (let times = 0; times < 30; times++)
          await loadModel(${JSON.stringify(cid)}, { store, engine: '${choice}', onProgress }).catch(({ message }) => console.log(message))`
      const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { timeout: 60_000 })
      expect(stdout).toBe('listener\n'.repeat(30))
    })

  it('a process whose call could not be made ends by itself', async () => {
    const script = `const { loadModel, openStore } = await import(${JSON.stringify(API)})
      const model = await loadModel(${JSON.stringify(cid)}, { store: await openStore(${JSON.stringify(assets.home)}), engine: '${choice}' })
      const failed = []
      for (const call of [
        () => model.generate('hi', { maxTokens: () => 1 }).next(),
        () => model.run({ input_ids: { type: 'int64', data: [() => 1], dims: [1, 1] } }),
      ]) await call().catch((error) => failed.push(error.name))
      for await (const _ of model.generate('hi', { maxTokens: 1, onToken() {} }));
      console.log(failed.length)`
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { timeout: 60_000 })
    expect(stdout).toBe('2\n')
  })

  const wrong: [string, (model: Model) => Promise<unknown>, string][] = [
    ['a prompt of null', (model) => model.generate(null as never).next(), 'prompt'],
    ['a prompt that is an object', (model) => model.generate({} as never).next(), 'prompt'],
    ['a prompt of mixed things', (model) => model.generate([1, 'a'] as never).next(), 'prompt'],
    ['a stop that is no text', (model) => model.generate(DATE, { stop: 5 as never }).next(), 'stop'],
    ['a stop of null', (model) => model.generate(DATE, { stop: null as never }).next(), 'stop'],
    ['options of null', (model) => model.generate(DATE, null as never).next(), 'options'],
    ['feeds that are none', (model) => model.run(undefined as never), 'feeds'],
    ['a feed of null', (model) => model.run({ input_ids: null as never }), 'input_ids'],
    ['a feed that is a list', (model) => model.run({ input_ids: [] as never }), 'input_ids'],
    ['texts that are one', (model) => model.embed('abc' as never), 'texts'],
    ['texts that are numbers', (model) => model.embed([5] as never), 'texts'],
    ['texts of null', (model) => model.embed(null as never), 'texts'],
  ]
  it.each(wrong)('refuses %s with a typed error that says what', async (_what, call, named) => {
    await using model = await load()
    await expect(call(model)).rejects.toMatchObject({ name: 'AssetError', code: 'BAD_INPUT', message: expect.stringContaining(named) })
  })

  it('refuses settings that are none', async () => {
    for (const options of [{ store: '/path' }, { memory: 5n }, { engine: 'tpu' }, { threads: 0 }, { threads: 257 }, { signal: {} }])
      await expect(loadModel(cid, { store: assets.store, ...options } as never)).rejects.toMatchObject({ code: 'BAD_USAGE' })
    await expect(plan(cid, { store: assets.store, engine: 'tpu' as never })).rejects.toMatchObject({ code: 'BAD_USAGE' })
  })

  it('Ctrl-C while the command line loads or generates ends it with one line', async () => {
    for (const delay of [250, 400, 600, 800, 1200]) {
      const args = [CLI, 'run', cid, '--prompt', DATE, '--ignore-eos', '--max-tokens', '100000', '--engine', choice]
      const child = spawn(process.execPath, args, { env: { ...process.env, MODULE_ASSETS_HOME: assets.home } })
      let stderr = ''
      child.stderr.on('data', (text) => {
        stderr += text
      })
      child.stdout.resume()
      const ended = new Promise<number | null>((resolve) => child.on('exit', (code) => resolve(code)))
      // Before Node itself has started nobody can hear a signal but the system.
      await new Promise((resolve) => setTimeout(resolve, delay))
      child.kill('SIGINT')
      const code = await ended
      // Ended by the system, or done already: the demo's context is short.
      if (code === null || code === 0) continue
      expect(code).toBe(1)
      expect(stderr).toMatch(/^masset: Cannot [^\n]*cancelled[^\n]*\n$/)
    }
  })
})

describe('what a model says of itself', () => {
  const files: [string, string, RegExp][] = [
    ['config.json', '"max_position_embeddings": "many"', /max_position_embeddings is "many".*mend config\.json/],
    ['generation_config.json', '"eos_token_id": {"a":1}', /eos_token_id is \{"a":1\}/],
    ['generation_config.json', '"do_sample": true, "temperature": 1e9', /as generation_config\.json says.*temperature is 1000000000/],
    ['generation_config.json', '"max_new_tokens": -4', /max_new_tokens is -4.*mend generation_config\.json/],
  ]
  it.each(files)('%s with %s: an error that names it', async (file, entry, why) => {
    const assets = await testStore()
    try {
      await cp(DEMO, `${assets.home}/in`, { recursive: true })
      const path = `${assets.home}/in/${file}`
      const text = await readFile(path, 'utf8')
      const key = JSON.parse(`{${entry}}`)
      await writeFile(path, JSON.stringify({ ...JSON.parse(text), ...key }))
      const { cid } = await fragment(`${assets.home}/in`, { store: assets.store })
      await using model = await loadModel(cid, { store: assets.store })
      await expect(model.generate(DATE).next()).rejects.toMatchObject({ code: 'BAD_INPUT', message: expect.stringMatching(why) })
    } finally {
      await assets.remove()
    }
  })

  it('a top_k of 0 draws from all', async () => {
    const assets = await testStore()
    try {
      await cp(DEMO, `${assets.home}/in`, { recursive: true })
      await writeFile(`${assets.home}/in/generation_config.json`, '{"do_sample":true,"top_k":0,"temperature":0.01,"eos_token_id":2}')
      const { cid } = await fragment(`${assets.home}/in`, { store: assets.store })
      await using model = await loadModel(cid, { store: assets.store })
      expect((await model.generate(DATE, { maxTokens: 1 }).next()).done).toBe(false)
    } finally {
      await assets.remove()
    }
  })
})
