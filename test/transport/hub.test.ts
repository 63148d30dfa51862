import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { fragment, openStore, type Store, verify } from '../../src/api/index.js'
import { sharedModel } from '../shared.js'
import { safetensors, temporary } from '../sources/files.js'
import { repoOf, startHub, type TestHub, type TestRepo, TOKEN } from './hub-server.js'

const DEMO = fileURLToPath(new URL('../../../models/demo', import.meta.url))
const CLI = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))
const MiB = 1024 * 1024

afterEach(() => vi.unstubAllEnvs())

function use(hub: TestHub, cache: string, more: Record<string, string> = {}): void {
  for (const [name, value] of Object.entries({ ...hub.env(cache), ...more })) vi.stubEnv(name, value)
}

/** Fragments `hf:owner/large` into a store until something of it is there. */
async function interrupted(store: Store): Promise<void> {
  const controller = new AbortController()
  const onProgress = ({ done }: { done: number }) => done > 0 && controller.abort()
  await expect(fragment('hf:owner/large', { store, signal: controller.signal, onProgress })).rejects.toMatchObject({ code: 'ABORTED' })
}

/** A checkpoint of tensors of so many MiB each. */
async function largeCheckpoint(folder: Awaited<ReturnType<typeof temporary>>, sizes: readonly number[]): Promise<string> {
  const header: Record<string, object> = {}
  let end = 0
  for (const [i, size] of sizes.entries()) {
    header[`layers.${i}.weight`] = { dtype: 'BF16', shape: [size, MiB / 2], data_offsets: [end, end + size * MiB] }
    end += size * MiB
  }
  await folder.write('large/model.safetensors', safetensors(header, randomBytes(end)))
  await folder.write('large/README.md', 'weights of the tests')
  return join(folder.path, 'large')
}

async function bytesIn(folder: string): Promise<number> {
  let sum = 0
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) sum += (await stat(join(entry.parentPath, entry.name))).size
  return sum
}

/** A cache as Hugging Face's tools make it, with these of the repository's files. */
async function makeCache(cache: string, { commit, files }: TestRepo, has: (path: string) => boolean = () => true): Promise<string> {
  const repo = join(cache, 'models--owner--demo')
  await mkdir(join(repo, 'refs'), { recursive: true })
  await mkdir(join(repo, 'blobs'), { recursive: true })
  await writeFile(join(repo, 'refs', 'main'), commit)
  for (const [at, [path, bytes]] of [...files].entries()) {
    if (!has(path)) continue
    const link = join(repo, 'snapshots', commit, path)
    await mkdir(dirname(link), { recursive: true })
    await writeFile(join(repo, 'blobs', `blob${at}`), bytes)
    await symlink(`${'../'.repeat(path.split('/').length + 1)}blobs/blob${at}`, link)
  }
  return repo
}

describe('a model of the hub', () => {
  it('gives the CID of the same files in a folder, in each dtype, and fetches what it needs once', async () => {
    await using folder = await temporary()
    const repo = await repoOf(DEMO)
    await using hub = await startHub({ 'owner/demo': repo }, 3)
    use(hub, join(folder.path, 'no-cache'))
    const store = await openStore(join(folder.path, 'store'))
    for (const dtype of ['keep', 'q4'] as const) {
      const local = await fragment(DEMO, { out: join(folder.path, `local-${dtype}`), dtype })
      const before = hub.sent()
      const remote = await fragment('hf:owner/demo', { store, dtype })
      expect(remote.cid).toBe(local.cid)
      expect(remote.fetched).toBe(hub.sent() - before)
      expect(await verify(remote.cid, { store })).toMatchObject({ damage: [] })
    }
    expect((await readdir(join(folder.path, 'store', 'unfinished'))).length).toBe(0)
    const out = await fragment(`hf:owner/demo@${repo.commit}`, { out: join(folder.path, 'out') })
    expect(await verify(join(folder.path, 'out'))).toMatchObject({ cid: out.cid, damage: [] })
    expect((await readdir(folder.path)).filter((name) => name.startsWith('.'))).toEqual([])
  })

  it('reads each tensor once and keeps no second copy', async () => {
    await using folder = await temporary()
    const local = await largeCheckpoint(folder, [3, 3, 19, 1, 3])
    await using hub = await startHub({ 'owner/large': await repoOf(local) })
    use(hub, join(folder.path, 'no-cache'))
    const store = await openStore(join(folder.path, 'store'))
    const { cid, bytes, fetched } = await fragment('hf:owner/large', { store })
    expect(cid).toBe((await fragment(local, { out: join(folder.path, 'local') })).cid)
    const weights = 29 * MiB
    expect(fetched).toBe(hub.sent())
    expect(fetched! - weights).toBeLessThan(64 * 1024)
    expect((await bytesIn(join(folder.path, 'store'))) - bytes).toBeLessThan(64 * 1024)
    // Once the hub has sent on to its CDN that is asked alone.
    expect(hub.hub.asked.filter(({ path }) => path.endsWith('model.safetensors')).length).toBeLessThanOrEqual(8)
  })

  it('goes on where it was interrupted and fetches nothing again, into a store and a folder', async () => {
    await using folder = await temporary()
    await using hub = await startHub({ 'owner/large': await repoOf(await largeCheckpoint(folder, [3, 3, 3, 3, 3, 3, 3, 3])) })
    use(hub, join(folder.path, 'no-cache'))
    const store = await openStore(join(folder.path, 'store'))
    for (const into of [{ store }, { out: join(folder.path, 'out') }]) {
      const controller = new AbortController()
      const started = hub.sent()
      hub.cdnFault = () => {
        if (hub.sent() - started < 9 * MiB) return undefined
        // What was sent is taken in meanwhile; this is never answered.
        setTimeout(() => controller.abort(), 500)
        return true
      }
      await expect(fragment('hf:owner/large', { ...into, signal: controller.signal })).rejects.toMatchObject({ code: 'ABORTED' })
      hub.cdnFault = () => undefined
      expect(hub.sent() - started).toBeLessThan(13 * MiB)
      const progress: number[] = []
      const { fetched, cid } = await fragment('hf:owner/large', { ...into, onProgress: ({ done }) => progress.push(done) })
      expect(progress[0]).toBeGreaterThan(0)
      expect(fetched).toBeLessThanOrEqual(24 * MiB - 9 * MiB + 64 * 1024)
      expect(await verify('store' in into ? cid : into.out!, { store })).toMatchObject({ damage: [] })
    }
  })

  it('looks again at what an interrupted call left: bytes that changed since are fetched anew', async () => {
    await using folder = await temporary()
    const local = await largeCheckpoint(folder, [3, 3, 3, 3])
    await using hub = await startHub({ 'owner/large': await repoOf(local) })
    use(hub, join(folder.path, 'no-cache'))
    const store = await openStore(join(folder.path, 'store'))
    await interrupted(store)
    const unfinished = join(folder.path, 'store', 'unfinished')
    for (const entry of await readdir(unfinished, { recursive: true, withFileTypes: true })) {
      if (!entry.name.endsWith('.safetensors')) continue
      const path = join(entry.parentPath, entry.name)
      const bytes = await readFile(path)
      bytes[bytes.length - 1]! ^= 1
      await writeFile(path, bytes)
    }
    const { cid } = await fragment('hf:owner/large', { store })
    expect(cid).toBe((await fragment(local, { out: join(folder.path, 'local') })).cid)
  })

  it('leaves what was interrupted to gc, unless it is young', async () => {
    await using folder = await temporary()
    await using hub = await startHub({ 'owner/large': await repoOf(await largeCheckpoint(folder, [3, 3, 3, 3])) })
    use(hub, join(folder.path, 'no-cache'))
    const store = await openStore(join(folder.path, 'store'))
    await interrupted(store)
    const unfinished = join(folder.path, 'store', 'unfinished')
    await store.gc()
    expect((await readdir(unfinished)).length).toBe(1)
    expect((await store.gc({ unfinishedAfter: 0 })).freed).toBeGreaterThan(3 * MiB)
    expect(await readdir(unfinished)).toEqual([])
  })

  it('is fragmented by the command, which says what was fetched, or what to do in one line', async () => {
    await using folder = await temporary()
    await using hub = await startHub({ 'owner/demo': await repoOf(DEMO), 'owner/closed': await repoOf(DEMO, 'private') })
    const env = { ...process.env, ...hub.env(join(folder.path, 'no-cache')), MODULE_ASSETS_HOME: join(folder.path, 'store') }
    const masset = (...args: string[]) => promisify(execFile)(process.execPath, [CLI, ...args], { env })
    const { stdout, stderr } = await masset('fragment', 'hf:owner/demo', '--store')
    expect(stdout).toBe(`${(await fragment(DEMO, { out: join(folder.path, 'local') })).cid}\n`)
    expect(stderr).toMatch(/^47 files, 1.6 MiB, 1.[45] MiB fetched\n/)
    const why = 'there is no such repository, or it is private; check the name, or set HF_TOKEN to a token that may read it'
    await expect(masset('fragment', 'hf:owner/closed', '--store')).rejects.toMatchObject({
      code: 1,
      stdout: '',
      stderr: `masset: Cannot read hf:owner/closed: ${why}\n`,
    })
  })

  it('fragments a single file of a repository, weights alone', async () => {
    await using folder = await temporary()
    const repo = await repoOf(DEMO)
    await using hub = await startHub({ 'owner/demo': repo })
    use(hub, join(folder.path, 'no-cache'))
    const { cid } = await fragment('hf:owner/demo/model.safetensors', { out: join(folder.path, 'a') })
    expect(cid).toBe((await fragment(join(DEMO, 'model.safetensors'), { out: join(folder.path, 'b') })).cid)
    await expect(fragment('hf:owner/demo/none.safetensors', { out: join(folder.path, 'c') })).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })
})

const gguf = sharedModel('stories260k-gguf')

describe.runIf(gguf)('a GGUF file of the hub', () => {
  it('gives the CID of the file on disk, as it is and converted', async () => {
    await using folder = await temporary()
    await using hub = await startHub({ 'owner/stories': await repoOf(gguf!) })
    use(hub, join(folder.path, 'no-cache'))
    const files = (await readdir(gguf!)).filter((name) => /f16|q4_k|q8_0/i.test(name))
    for (const name of files) {
      const { cid, fetched } = await fragment(`hf:owner/stories/${name}`, { out: join(folder.path, `hub-${name}`) })
      expect([name, cid]).toEqual([name, (await fragment(join(gguf!, name), { out: join(folder.path, `local-${name}`) })).cid])
      // Its header is read in large steps, which in a file so small are all of it.
      expect(fetched).toBeLessThan((await stat(join(gguf!, name))).size + MiB)
    }
    expect(files.length).toBeGreaterThan(0)
  })
})

describe('the cache of the hub', () => {
  it('is read where it has a file, and the rest is fetched', async () => {
    await using folder = await temporary()
    const repo = await repoOf(DEMO)
    await using hub = await startHub({ 'owner/demo': repo })
    const cache = join(folder.path, 'cache')
    use(hub, cache)
    await makeCache(cache, repo, (path) => path.endsWith('.safetensors'))
    const { cid } = await fragment('hf:owner/demo', { out: join(folder.path, 'a') })
    expect(cid).toBe((await fragment(DEMO, { out: join(folder.path, 'b') })).cid)
    expect(hub.cdn.asked.filter(({ path }) => path.includes('safetensors'))).toEqual([])
    expect(hub.hub.asked.filter(({ path }) => path.endsWith('.safetensors'))).toEqual([])
  })

  it('is all there is with HF_HUB_OFFLINE, where it has all: nothing is asked', async () => {
    await using folder = await temporary()
    const repo = await repoOf(DEMO)
    await using hub = await startHub({ 'owner/demo': repo })
    const home = join(folder.path, 'home')
    use(hub, '', { HF_HUB_OFFLINE: '1', HF_HOME: home })
    vi.stubEnv('HF_HUB_CACHE', undefined)
    await expect(fragment('hf:owner/demo', { out: join(folder.path, 'a') })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: `Cannot open hf:owner/demo: HF_HUB_OFFLINE is set, and the cache ${home}/hub has no revision main of it; unset it to ask the hub`,
    })
    await makeCache(join(home, 'hub'), repo)
    const { cid, fetched } = await fragment('hf:owner/demo', { out: join(folder.path, 'a') })
    expect([cid, fetched]).toEqual([(await fragment(DEMO, { out: join(folder.path, 'b') })).cid, 0])
    expect(hub.hub.asked).toEqual([])
  })

  it('33: is not followed out of itself', async () => {
    await using folder = await temporary()
    const repo = await repoOf(DEMO)
    await using hub = await startHub({ 'owner/demo': repo })
    const cache = join(folder.path, 'cache')
    const made = await makeCache(cache, repo)
    const secret = await folder.write('secret.json', repo.files.get('config.json')!)
    const link = join(made, 'snapshots', repo.commit, 'config.json')
    await rm(link)
    await symlink(secret, link)
    for (const HF_HUB_OFFLINE of ['', '1']) {
      use(hub, cache, { HF_HUB_OFFLINE })
      await expect(fragment('hf:owner/demo', { out: join(folder.path, 'a') })).rejects.toMatchObject({
        code: 'BAD_INPUT',
        message: `Cannot read ${link}: it leads outside of the cache ${cache}; remove it`,
      })
    }
    expect(await readdir(folder.path)).not.toContain('a')
  })
})

describe('the token', () => {
  it('62: opens what is private, and goes to the hub alone', async () => {
    await using folder = await temporary()
    await using hub = await startHub({ 'owner/demo': await repoOf(DEMO, 'private') })
    use(hub, join(folder.path, 'no-cache'), { HF_TOKEN: TOKEN })
    await fragment('hf:owner/demo', { out: join(folder.path, 'a') })
    expect(hub.hub.asked.every(({ headers }) => headers.authorization === `Bearer ${TOKEN}`)).toBe(true)
    expect(hub.cdn.asked.length).toBeGreaterThan(0)
    expect(hub.cdn.asked.some(({ headers }) => JSON.stringify(headers).includes(TOKEN))).toBe(false)
  })

  it.each([
    ['private', '', /there is no such repository, or it is private; check the name, or set HF_TOKEN to a token that may read it$/],
    ['private', 'hf_another', /the hub does not take HF_TOKEN; check the name, and make a new token in the settings there$/],
    ['gated', '', /it is not open to everybody; accept its conditions at http:\/\/127.0.0.1:\d+\/owner\/demo, and set HF_TOKEN$/],
    ['gated', TOKEN, /it is not open to everybody; accept its conditions at http:\/\/127.0.0.1:\d+\/owner\/demo, or use another HF_TOKEN$/],
  ] as const)('is asked for where a %s model is read with "%s"', async (access, token, message) => {
    await using folder = await temporary()
    await using hub = await startHub({ 'owner/demo': await repoOf(DEMO, access) })
    use(hub, join(folder.path, 'no-cache'), { HF_TOKEN: token })
    const failed = await fragment('hf:owner/demo', { out: join(folder.path, 'a') }).catch((error: Error) => error)
    expect(failed).toMatchObject({ code: 'NOT_FOUND', message: expect.stringMatching(message) })
    expect(String((failed as Error).stack)).not.toContain('hf_')
  })

  it('with characters that would be another header is refused', async () => {
    vi.stubEnv('HF_TOKEN', 'hf_a\r\nx: y')
    await expect(fragment('hf:owner/demo', { out: '/nowhere/a' })).rejects.toMatchObject({
      code: 'BAD_USAGE',
      message: 'Cannot use HF_TOKEN: it has characters that no token has; copy it again',
    })
  })
})
