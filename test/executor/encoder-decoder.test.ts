import { cp, readFile, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fragment, type LoadOptions, loadModel, type Model, plan } from '../../src/api/index.js'
import { sharedModel } from '../shared.js'
import { temporary } from '../sources/files.js'
import { golden, idTensor, type TestStore, testStore, worstDifference } from './assets.js'
import { ENGINES } from './engines.js'

interface Golden {
  input_ids: number[][]
  decoder_input_ids: number[][]
  logits: number[][][]
}

const here = sharedModel('tiny-t5') !== undefined
// The native engine doesn't know all of it.
const CHOICES = ENGINES.includes('native') ? (['onnx', 'auto'] as const) : (['onnx'] as const)
const LAYERS = 2

/** A tokenizer as T5 has them, whose words are `w3` to `wN`; it puts `</s>` after a text. */
function tokenizer(count: number): object {
  const special = ['<pad>', '</s>', '<unk>']
  const words = Array.from({ length: count - special.length }, (_, n) => [`▁w${n + special.length}`, -1])
  const space = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true }
  const end = [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '</s>', type_id: 0 } }]
  const flags = { special: true, single_word: false, lstrip: false, rstrip: false, normalized: false }
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: special.map((content, id) => ({ id, content, ...flags })),
    normalizer: null,
    pre_tokenizer: space,
    post_processor: {
      type: 'TemplateProcessing',
      single: end,
      pair: end,
      special_tokens: { '</s>': { id: '</s>', ids: [1], tokens: ['</s>'] } },
    },
    decoder: space,
    model: { type: 'Unigram', unk_id: 2, byte_fallback: false, vocab: [...special.map((text) => [text, 0]), ...words] },
  }
}

describe.runIf(here).each(CHOICES)('a model of an encoder and a decoder in %s', (engine) => {
  let assets: TestStore
  let data: Golden
  beforeAll(async () => {
    assets = await testStore()
    data = await golden<Golden>('tiny-t5')
  })
  afterAll(() => assets.remove())

  async function load(options: LoadOptions = {}): Promise<Model> {
    return loadModel(await assets.cid('tiny-t5'), { store: assets.store, engine, ...options })
  }

  const last = (model: Model, ids: number[], decoder: number[], feeds = {}) =>
    model
      .run({ input_ids: idTensor([ids]), decoder_input_ids: idTensor([decoder]), ...feeds })
      .then(({ logits }) => (logits!.data as Float32Array).slice(-256))

  /** The tokens that are likeliest, each found by a pass over all before it. */
  async function greedyByRuns(model: Model, ids: number[], count: number): Promise<number[]> {
    const made = [0]
    while (made.length <= count) {
      const logits = await last(model, ids, made)
      made.push(logits.indexOf(Math.max(...logits)))
    }
    return made.slice(1)
  }

  async function generated(model: Model, ids: number[], maxTokens: number): Promise<number[]> {
    const tokens: number[] = []
    for await (const { tokenId } of model.generate(ids, { maxTokens, ignoreEos: true })) tokens.push(tokenId)
    return tokens
  }

  it('gives the golden logits, at once and token by token, within all and 30 percent of its weights', async () => {
    const cid = await assets.cid('tiny-t5')
    const { weightBytes, minimum, segments } = await plan(cid, { store: assets.store, engine })
    expect(new Set(segments.map((segment) => segment.engine))).toEqual(new Set(engine === 'onnx' ? ['onnx'] : ['native', 'onnx']))
    const results: Buffer[] = []
    for (const memory of [weightBytes, Math.max(minimum, Math.floor(weightBytes * 0.3))]) {
      await using model = await load({ memory })
      const { input_ids: ids, decoder_input_ids: decoder, logits } = data
      const outputs = await model.run({ input_ids: idTensor(ids), decoder_input_ids: idTensor(decoder) })
      expect(worstDifference(outputs.logits!.data as Float32Array, logits.flat(2))).toBeLessThan(1e-4)
      expect(outputs.encoder_last_hidden_state!.dims).toEqual([2, 11, 64])
      results.push(Buffer.from((outputs.logits!.data as Float32Array).slice().buffer))
      let past = {}
      for (const [at, wanted] of logits[0]!.entries()) {
        const feeds = { input_ids: idTensor([ids[0]!]), decoder_input_ids: idTensor([[decoder[0]![at]!]]), ...past }
        const { logits: found, encoder_last_hidden_state: _, ...present } = await model.run(feeds)
        expect(worstDifference(found!.data as Float32Array, wanted)).toBeLessThan(1e-4)
        past = Object.fromEntries(Object.entries(present).map(([name, tensor]) => [name.replace('present', 'past_key_values'), tensor]))
      }
      expect((await model.stats()).peakResidentBytes).toBeLessThanOrEqual(memory)
    }
    expect(results[0]!.equals(results[1]!)).toBe(true)
  })

  it('does not see padding before, after or between the tokens of the encoder, nor before those of the decoder', async () => {
    await using model = await load()
    const [ids, decoder] = [data.input_ids[0]!, data.decoder_input_ids[0]!]
    const wanted = data.logits[0]!.at(-1)!
    const around = [...ids, 9, 9]
    const mask = around.map((_, at) => Number(at < ids.length))
    expect(worstDifference(await last(model, around, decoder, { attention_mask: idTensor([mask]) }), wanted)).toBeLessThan(1e-4)
    // positions are counted from token to token, so padding before all of them changes no distance
    const before = { attention_mask: idTensor([[...mask].reverse()]) }
    expect(worstDifference(await last(model, [9, 9, ...ids], decoder, before), wanted)).toBeLessThan(1e-4)
    const behind = { decoder_attention_mask: idTensor([[0, 0, ...decoder.map(() => 1)]]) }
    expect(worstDifference(await last(model, ids, [7, 8, ...decoder], behind), wanted)).toBeLessThan(1e-4)
  })

  it('generates what passes over all tokens give, its encoder run once', async () => {
    const { minimum } = await plan(await assets.cid('tiny-t5'), { store: assets.store, engine })
    await using model = await load({ memory: minimum, trace: true })
    const wanted = await greedyByRuns(model, data.input_ids[0]!, 6)
    const before = (await model.stats()).passes
    await model.trace()
    expect(await generated(model, data.input_ids[0]!, 6)).toEqual(wanted)
    expect((await model.stats()).passes - before).toBe(1 + 6)
    expect((await model.stats()).stateBytes).toBe(0)
    const computed = (await model.trace()).traceEvents.flatMap((event) => ('cat' in event && event.cat === 'compute' ? [event.name] : []))
    const times = (name: string) => computed.filter((other) => other.includes(name)).length
    if (engine !== 'onnx') return
    expect(times('decoder.block.0.layer.0.SelfAttention.q.weight')).toBe(6)
    expect(times('decoder.block.0.layer.1.EncDecAttention.q.weight')).toBe(6)
    for (const part of ['encoder.block.0.layer.0.SelfAttention.q.weight', 'decoder.block.1.layer.1.EncDecAttention.v.weight'])
      expect(times(part)).toBe(1)
  })

  it('reads for a token exactly the bytes of the decoder that are not pinned', async () => {
    const cid = await assets.cid('tiny-t5')
    const { weightBytes } = await plan(cid, { store: assets.store, engine })
    for (const share of [1, 0.6, 0.4]) {
      const memory = Math.floor(weightBytes * share)
      const { bytesPerToken } = await plan(cid, { store: assets.store, engine, memory })
      await using model = await load({ memory })
      const read = async (maxTokens: number) => {
        const before = (await model.stats()).bytesRead
        await generated(model, [5, 6, 7], maxTokens)
        return (await model.stats()).bytesRead - before
      }
      await read(3)
      // and one row of the embedding, unless all of that is in memory as the output head
      const row = 64 * 4
      const more = (await read(5)) - (await read(4))
      expect([bytesPerToken, bytesPerToken + row]).toContain(more)
    }
  })

  it('begins with the token that the files name, ends where they say, and frees what it kept when the reader leaves', async () => {
    await using folder = await temporary()
    const source = `${folder.path}/t5`
    await cp(sharedModel('tiny-t5')!, source, { recursive: true })
    const generation = { decoder_start_token_id: 7, eos_token_id: 1 }
    await writeFile(`${source}/generation_config.json`, JSON.stringify(generation))
    const { cid } = await fragment(source, { store: assets.store })
    await using model = await loadModel(cid, { store: assets.store, engine })
    const logits = await last(model, [5, 6, 7], [7])
    const likeliest = logits.indexOf(Math.max(...logits))
    for await (const { tokenId } of model.generate([5, 6, 7], { maxTokens: 40 })) {
      expect(tokenId).toBe(likeliest)
      expect((await model.stats()).stateBytes).toBeGreaterThan(LAYERS * 2 * 3 * 64 * 4)
      break
    }
    expect((await model.stats()).stateBytes).toBe(0)
    await writeFile(`${source}/generation_config.json`, JSON.stringify({ ...generation, eos_token_id: likeliest }))
    await using ended = await loadModel((await fragment(source, { store: assets.store })).cid, { store: assets.store, engine })
    for await (const made of ended.generate([5, 6, 7])) throw new Error(`made ${made.tokenId}`)
  })

  it('reads text with its encoder and gives the text of its decoder alone', async () => {
    await using folder = await temporary()
    const source = `${folder.path}/t5`
    await cp(sharedModel('tiny-t5')!, source, { recursive: true })
    await writeFile(`${source}/tokenizer.json`, JSON.stringify(tokenizer(256)))
    await writeFile(
      `${source}/tokenizer_config.json`,
      JSON.stringify({ tokenizer_class: 'T5Tokenizer', eos_token: '</s>', pad_token: '<pad>' }),
    )
    const { cid } = await fragment(source, { store: assets.store })
    await using model = await loadModel(cid, { store: assets.store, engine })
    const ids = [7, 200, 31, 1]
    const wanted = await generated(model, ids, 5)
    const [tokens, texts]: [number[], string[]] = [[], []]
    for await (const { tokenId, text } of model.generate('w7 w200 w31', { maxTokens: 5, ignoreEos: true })) {
      tokens.push(tokenId)
      texts.push(text)
    }
    expect(tokens).toEqual(wanted)
    expect(texts.join('').trim()).toBe(wanted.map((id) => `w${id}`).join(' '))
    expect(texts[1]).toBe(` w${wanted[1]}`)
  })

  it('takes turns with another generation, each with its own encoder states', async () => {
    await using model = await load()
    const [one, other] = data.input_ids as [number[], number[]]
    const alone = [await generated(model, one, 8), await generated(model, other, 8)]
    expect(alone[0]).not.toEqual(alone[1])
    expect(await Promise.all([generated(model, one, 8), generated(model, other, 8)])).toEqual(alone)
  })

  it('says what is wrong: no decoder tokens, a mask that does not fit, a budget too small, no first token', async () => {
    await using model = await load()
    await expect(model.run({ input_ids: idTensor([[5, 6]]) })).rejects.toMatchObject({
      code: 'BAD_INPUT',
      message: 'Cannot run the model: the input decoder_input_ids is missing',
    })
    const feeds = { input_ids: idTensor([[5, 6]]), decoder_input_ids: idTensor([[0, 4]]) }
    for (const name of ['attention_mask', 'decoder_attention_mask'])
      await expect(model.run({ ...feeds, [name]: idTensor([[1, 1, 1]]) })).rejects.toMatchObject({
        code: 'BAD_INPUT',
        message: expect.stringMatching(name === 'attention_mask' ? /disagree on "encoder_sequence": 2 and 3/ : /\[1,3\], expected \[1,2\]/),
      })
    const { minimum } = await plan(await assets.cid('tiny-t5'), { store: assets.store, engine })
    await expect(load({ memory: minimum - 1 })).rejects.toMatchObject({
      code: 'BUDGET_TOO_SMALL',
      message: expect.stringContaining(`give at least ${minimum} bytes`),
    })
    await using folder = await temporary()
    await cp(sharedModel('tiny-t5')!, `${folder.path}/t5`, { recursive: true })
    const config = JSON.parse(await readFile(`${folder.path}/t5/config.json`, 'utf8'))
    for (const start of [undefined, -1, 256, 'a']) {
      await writeFile(
        `${folder.path}/t5/config.json`,
        JSON.stringify({ ...config, pad_token_id: undefined, decoder_start_token_id: start }),
      )
      await writeFile(`${folder.path}/t5/generation_config.json`, '{}')
      await using odd = await loadModel((await fragment(`${folder.path}/t5`, { store: assets.store })).cid, { store: assets.store, engine })
      await expect(generated(odd, [5], 1)).rejects.toMatchObject({
        code: 'BAD_INPUT',
        message: expect.stringContaining('decoder_start_token_id is'),
      })
    }
  })

  it.each(['bf16', 'q8'] as const)('runs in %s, close to float32', async (dtype) => {
    const { cid } = await fragment(sharedModel('tiny-t5')!, { store: assets.store, dtype })
    await using model = await loadModel(cid, { store: assets.store, engine })
    const outputs = await model.run({ input_ids: idTensor(data.input_ids), decoder_input_ids: idTensor(data.decoder_input_ids) })
    const off = worstDifference(outputs.logits!.data as Float32Array, data.logits.flat(2))
    expect(off).toBeLessThan(dtype === 'q8' ? 2.5 : 0.5)
    expect(off).toBeGreaterThan(1e-4)
  })

  it('is refused where the native engine alone may run it, and where its weights were to be mapped', async () => {
    if (engine === 'onnx') return
    await expect(load({ engine: 'native' })).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    await expect(load({ map: true })).rejects.toMatchObject({ code: 'UNSUPPORTED' })
  })
})
