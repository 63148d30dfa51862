import { execFile } from 'node:child_process'
import { cp } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fragment, loadModel, plan } from '../../src/api/index.js'
import { tokenizerBytes } from '../../src/text/tokenizer-bytes.js'
import { type TestStore, testStore } from '../executor/assets.js'
import { choiceOf, ENGINES } from '../executor/engines.js'
import { temporary } from '../sources/files.js'

const DEMO = fileURLToPath(new URL('../../../models/demo', import.meta.url))
const PROBE = fileURLToPath(new URL('../../src/cli/memory-probe.js', import.meta.url))
const VOCABULARY = 128_000

/** A byte-level tokenizer of so many entries, each but the bytes made by a merge, as large vocabularies are. */
function largeTokenizer(): string {
  const printable = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
  let unprintable = 256
  const tokens = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : unprintable++))
  const letters = tokens.filter((token) => /[a-zA-Z\u0120]/.test(token))
  const vocab = new Map(tokens.map((token, id) => [token, id]))
  const merges: [string, string][] = []
  for (let at = 0; vocab.size < VOCABULARY; at++) {
    // In order, so that each is made of two that are there.
    const [left, right] = [tokens[Math.floor(at / letters.length)]!, letters[at % letters.length]!]
    if (vocab.has(left + right)) continue
    vocab.set(left + right, vocab.size)
    tokens.push(left + right)
    merges.push([left, right])
  }
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
  return JSON.stringify(
    {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: byteLevel,
      post_processor: byteLevel,
      decoder: byteLevel,
      model: {
        type: 'BPE',
        dropout: null,
        unk_token: null,
        fuse_unk: false,
        ignore_merges: true,
        vocab: Object.fromEntries(vocab),
        merges,
      },
    },
    null,
    2,
  )
}

describe('the memory of a large tokenizer', () => {
  let assets: TestStore
  let cid: string
  let bytes: number
  beforeAll(async () => {
    assets = await testStore()
    await using folder = await temporary()
    for (const file of ['config.json', 'model.safetensors']) await cp(`${DEMO}/${file}`, `${folder.path}/${file}`)
    const text = largeTokenizer()
    await folder.write('tokenizer.json', text)
    await folder.write('tokenizer_config.json', '{}')
    cid = (await fragment(folder.path, { store: assets.store })).cid
    bytes = tokenizerBytes(Buffer.byteLength(text))
  })
  afterAll(() => assets.remove())

  it.runIf(process.platform === 'linux')('is estimated from above, and not by more than half', async () => {
    const measure = async (...args: string[]) => {
      const env = { ...process.env, MODULE_ASSETS_HOME: assets.home }
      const { stdout } = await promisify(execFile)(process.execPath, [PROBE, cid, ...args], { env })
      return (JSON.parse(stdout) as { bytes: number }).bytes
    }
    const taken = (await measure()) - (await measure('--without-tokenizer'))
    expect(taken).toBeLessThan(bytes)
    expect(taken).toBeGreaterThan(bytes / 2)
  })

  it.each(ENGINES.filter((engine) => engine !== 'mixed').map(choiceOf))('%s: is taken off the budget, and told of', async (engine) => {
    const { minimum, tokenizerBytes, weightBytes } = await plan(cid, { store: assets.store, engine })
    expect(tokenizerBytes).toBe(bytes)
    expect(minimum).toBeGreaterThan(bytes)
    expect(await plan(cid, { store: assets.store, engine, memory: minimum })).toMatchObject({ budget: minimum, minimum, tokenizerBytes })
    const tooSmall = {
      code: 'BUDGET_TOO_SMALL',
      message: expect.stringMatching(`and the tokenizer need .*; give at least ${minimum} bytes`),
    }
    await expect(plan(cid, { store: assets.store, engine, memory: minimum - 1 })).rejects.toMatchObject(tooSmall)
    await expect(loadModel(cid, { store: assets.store, engine, memory: minimum - 1 })).rejects.toMatchObject(tooSmall)
    await using model = await loadModel(cid, { store: assets.store, engine, memory: minimum })
    expect(await model.stats()).toMatchObject({ tokenizerBytes, budgetBytes: minimum - bytes })
    await using whole = await loadModel(cid, { store: assets.store, engine })
    expect(await whole.stats()).toMatchObject({ tokenizerBytes, streamedBytesPerPass: 0 })
    expect((await plan(cid, { store: assets.store, engine, tokenizer: false })).minimum).toBe(minimum - bytes)
    await using without = await loadModel(cid, { store: assets.store, engine, memory: weightBytes, tokenizer: false })
    expect(await without.stats()).toMatchObject({ tokenizerBytes: 0, budgetBytes: weightBytes, streamedBytesPerPass: 0 })
    expect((await without.generate([5, 6], { maxTokens: 1 }).next()).value).toMatchObject({ text: '' })
    await expect(without.generate('text').next()).rejects.toMatchObject({
      code: 'MISSING',
      message: expect.stringContaining('or was loaded without it; give token ids'),
    })
  })

  it('of a small one is none of its own', async () => {
    expect(tokenizerBytes(100_000)).toBe(0)
  })
})
