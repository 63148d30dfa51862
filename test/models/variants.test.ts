import { describe, expect, it } from 'vitest'
import type { StateDict } from '../../src/graph/weights.js'
import { sharedModel } from '../shared.js'
import { type Opened, openStock, readJson, stateDictOf, stockRuntime } from './checkpoint.js'
import { Decoding, distance, ids, inPieces, unfold, unpadded } from './decoding.js'

const runtime = await stockRuntime()
const [llama, mistral, gpt2, qwen2, bert] = ['tiny-llama', 'tiny-mistral', 'tiny-gpt2', 'tiny-qwen2', 'tiny-bert'].map(sharedModel)

/** The same weights under other names; undefined leaves one out. */
function renamed(weights: StateDict, rename: (name: string) => string | undefined): StateDict {
  return new Map([...weights].flatMap(([name, ref]) => (rename(name) === undefined ? [] : [[rename(name)!, ref] as const])))
}

async function withModel<T>(folder: string, change: Parameters<typeof openStock>[2], use: (opened: Opened) => Promise<T>): Promise<T> {
  const opened = await openStock(runtime!, folder, change)
  try {
    return await use(opened)
  } finally {
    await opened.close()
  }
}

/** Logits of a decoder's golden input. */
const goldenLogits = (folder: string, change: Parameters<typeof openStock>[2]) =>
  withModel(folder, change, (opened) => unpadded(opened, 2).feed(readJson(folder, 'golden.json').input_ids))

describe.skipIf(!runtime || !llama)('checkpoints that name their tensors otherwise', () => {
  it('opens a gpt2 without the prefix `transformer.`, with its mask buffers', async () => {
    const weights = new Map(renamed(stateDictOf(gpt2!), (name) => name.replace(/^transformer\./, '')))
    weights.set('h.0.attn.bias', { dtype: 'U8', shape: [1, 1, 256, 256], location: 'nowhere', offset: 0, length: 65536 })
    expect(distance(await goldenLogits(gpt2!, { weights }), readJson(gpt2!, 'golden.json').logits)).toBeLessThan(1e-4)
  })
  it('opens a bare Llama-like model, its head tied', async () => {
    const weights = renamed(stateDictOf(qwen2!), (name) => name.replace(/^model\./, ''))
    expect(distance(await goldenLogits(qwen2!, { weights }), readJson(qwen2!, 'golden.json').logits)).toBeLessThan(1e-4)
  })
  it('opens a tied model of which only the head was kept', async () => {
    const weights = renamed(stateDictOf(qwen2!), (name) => (name === 'model.embed_tokens.weight' ? 'lm_head.weight' : name))
    expect(distance(await goldenLogits(qwen2!, { weights }), readJson(qwen2!, 'golden.json').logits)).toBeLessThan(1e-4)
  })
  it('opens a bert with the prefix `bert.`', async () => {
    const golden = readJson(bert!, 'golden.json')
    const weights = renamed(stateDictOf(bert!), (name) => `bert.${name}`)
    const outputs = await withModel(bert!, { weights }, ({ session }) =>
      session.run({
        input_ids: ids(golden.input_ids),
        attention_mask: ids(golden.attention_mask),
        token_type_ids: ids(golden.input_ids.map((row: number[]) => row.map(() => 0))),
      }),
    )
    expect(distance(unfold(outputs, 'last_hidden_state'), golden.last_hidden_state)).toBeLessThan(1e-4)
  })
  it('reads rope_theta and rope_scaling as older files have them', async () => {
    const config = { rope_parameters: undefined, rope_theta: 10000, rope_scaling: { type: 'default' } }
    expect(distance(await goldenLogits(llama!, { config }), readJson(llama!, 'golden.json').logits)).toBeLessThan(1e-4)
  })
})

describe.skipIf(!runtime || !mistral)('a sliding window', () => {
  // In a model of one layer keys and values come from the token alone, so what a query sees through a window of 4
  // is what it sees when it and the 3 tokens before it are all there is.
  const config = { num_hidden_layers: 1, sliding_window: 4 }
  const tokens = [7, 99, 3, 250, 18, 44, 201, 5, 63]

  for (const size of [64, 2, 1]) {
    it(`hides what is further back, ${size} tokens at a time`, async () => {
      await withModel(mistral!, { config }, async (opened) => {
        const [logits] = await inPieces(unpadded(opened, 1), [tokens], size)
        for (const [n] of tokens.entries()) {
          const from = Math.max(0, n - 3)
          const places = tokens.map((_, place) => place).slice(from, n + 1)
          const alone = new Decoding(opened, [places.map(() => 1)], [places])
          expect(distance(logits![n], (await alone.feed([tokens.slice(from, n + 1)]))[0]!.at(-1))).toBeLessThan(1e-5)
        }
      })
    })
  }
  it('changes nothing when it is as long as the text', async () => {
    const wide = await goldenLogits(mistral!, { config: { sliding_window: 11 } })
    expect(distance(wide, readJson(mistral!, 'golden.json').logits)).toBeLessThan(1e-4)
    const narrow = await goldenLogits(mistral!, { config: { sliding_window: 10 } })
    expect(distance(narrow, readJson(mistral!, 'golden.json').logits)).toBeGreaterThan(1e-3)
  })
  it('is taken by qwen2 in the layers that say so', async () => {
    const sliding = (types: string[]) =>
      goldenLogits(qwen2!, { config: { use_sliding_window: true, sliding_window: 2, layer_types: types } })
    const golden = readJson(qwen2!, 'golden.json').logits
    expect(distance(await sliding(['full_attention', 'full_attention']), golden)).toBeLessThan(1e-4)
    expect(distance(await sliding(['full_attention', 'sliding_attention']), golden)).toBeGreaterThan(1e-3)
  })
})
