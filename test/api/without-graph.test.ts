import { execFile } from 'node:child_process'
import { truncate } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { AssetError, fragment, inspect, loadModel, seal, verify } from '../../src/api/index.js'
import { untie } from '../../src/asset/ties.js'
import { openHuggingFace } from '../../src/sources/hf.js'
import { decoderConfig, decoderWeights } from '../models/synthetic.js'
import { safetensors, temporary } from '../sources/files.js'

const CLI = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))
type Weights = Map<string, { dtype: string; shape: number[] }>
const BYTES: Record<string, number> = { BF16: 2, F8_E4M3: 1, I32: 4 }

/** The bytes of a checkpoint of the small Llama, its weights changed. */
function checkpoint(change: (weights: Weights) => void = () => undefined): Uint8Array {
  const weights: Weights = new Map([...decoderWeights()].map(([name, { dtype, shape }]) => [name, { dtype, shape: [...shape] }]))
  change(weights)
  let end = 0
  const header: Record<string, object> = {}
  for (const [name, { dtype, shape }] of weights) {
    const begin = end
    end += BYTES[dtype]! * shape.reduce((size, dim) => size * dim, 1)
    header[name] = { dtype, shape, data_offsets: [begin, end] }
  }
  return safetensors(header, end)
}

const swapped = (weights: Weights, name: string, others: Weights) => {
  weights.delete(name)
  for (const [other, tensor] of others) weights.set(other, tensor)
}
const gptq = (weights: Weights) =>
  swapped(
    weights,
    'model.layers.0.mlp.up_proj.weight',
    new Map([
      ['model.layers.0.mlp.up_proj.qweight', { dtype: 'I32', shape: [2, 24] }],
      ['model.layers.0.mlp.up_proj.scales', { dtype: 'BF16', shape: [1, 24] }],
    ]),
  )

const VARIANTS: [string, string | object, (weights: Weights) => void, RegExp][] = [
  [
    'positions scaled as nobody knows',
    { ...decoderConfig, rope_scaling: { type: 'yarn', factor: 4 } },
    () => {},
    /rope type "yarn" is not supported/,
  ],
  [
    'a head that is missing',
    decoderConfig,
    (weights) => weights.delete('lm_head.weight'),
    /tensor lm_head\.weight .* is missing from the weights/,
  ],
  ['weights packed as GPTQ does', decoderConfig, gptq, /up_proj\.weight .* is missing from the weights/],
  [
    'weights of 8 bits',
    decoderConfig,
    (weights) => (weights.get('lm_head.weight')!.dtype = 'F8_E4M3'),
    /lm_head\.weight is of F8_E4M3; use weights of/,
  ],
  ['another width', { ...decoderConfig, hidden_size: 32 }, () => {}, /has the shape \[32, 16\], expected \[32, 32\]/],
  [
    'words for numbers',
    { ...decoderConfig, hidden_size: 'wide', tie_word_embeddings: 'yes' },
    () => {},
    /config\.json \w+ is "(wide|yes)", expected/,
  ],
  ['a decoder of an encoder family', { model_type: 'bert', is_decoder: true }, () => {}, /bert with is_decoder is not supported/],
  [
    'a family that nobody knows',
    { model_type: 'unheard-of' },
    () => {},
    /model_type is "unheard-of"; the families known are bert, .*llama, /,
  ],
]

describe('a checkpoint that gives no graph', () => {
  it.each(VARIANTS)('for %s: is stored and inspected, says why, and says it again when it is to be run', async (_, config, change, why) => {
    await using folder = await temporary()
    await folder.write('in/model.safetensors', checkpoint(change))
    await folder.write('in/config.json', JSON.stringify(config))
    const { cid, note } = await fragment(`${folder.path}/in`, { out: `${folder.path}/out` })
    expect(note).toMatch(/^It has no graph, so it can't be run: /)
    expect(note).toMatch(why)
    expect(await verify(`${folder.path}/out`)).toMatchObject({ cid, damage: [] })
    expect((await inspect(`${folder.path}/out`)).files.map(({ path }) => path)).not.toContain('model.onnx')
    const refusal = await loadModel(`${folder.path}/out`).catch((error: unknown) => error)
    expect(refusal).toBeInstanceOf(AssetError)
    expect(refusal).toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(/^Cannot run [^\n]*no graph, since .*; an ONNX export can be given instead$/),
    })
    expect((refusal as AssetError).message).toMatch(why)
    expect(await seal(`${folder.path}/out`)).toMatchObject({ cid, note })
  })

  it('for want of a config.json, or of a way of pooling that is known', async () => {
    await using folder = await temporary()
    await folder.write('in/model.safetensors', checkpoint())
    expect(await fragment(`${folder.path}/in`, { out: `${folder.path}/a` })).toMatchObject({
      note: expect.stringContaining('no config.json'),
    })
    await folder.write('in/config.json', JSON.stringify(decoderConfig))
    expect(await fragment(`${folder.path}/in`, { out: `${folder.path}/b` })).not.toHaveProperty('note')
    await folder.write('in/1_Pooling/config.json', '{"pooling_mode_weightedmean_tokens":true}')
    expect(await fragment(`${folder.path}/in`, { out: `${folder.path}/c` })).toMatchObject({
      note: expect.stringContaining('weightedmean'),
    })
  })

  it('says why on stderr, and only the CID on stdout', async () => {
    await using folder = await temporary()
    await folder.write('in/model.safetensors', checkpoint())
    await folder.write('in/config.json', '{"model_type":"unheard-of"}')
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [
      CLI,
      'fragment',
      `${folder.path}/in`,
      '--out',
      `${folder.path}/out`,
    ])
    expect(stdout).toMatch(/^bafy\w+\n$/)
    expect(stderr).toMatch(/\nIt has no graph, so it can't be run: model_type is "unheard-of"[^\n]+\n$/)
  })

  it.each(['{', '[]', '"llama"', ''])('a config.json that is no JSON object stays an error: %s', async (text) => {
    await using folder = await temporary()
    await folder.write('in/model.safetensors', checkpoint())
    await folder.write('in/config.json', text)
    await expect(fragment(`${folder.path}/in`, { out: `${folder.path}/out` })).rejects.toMatchObject({ code: 'BAD_INPUT' })
  })
})

describe('tied tensors', () => {
  it('are compared up to the first difference', async () => {
    await using folder = await temporary()
    // A quarter of a tebibyte each, of holes: to read them would take minutes.
    const rows = 2 ** 18
    const size = rows * rows * 4
    const entry = (at: number) => ({ dtype: 'F32', shape: [rows, rows], data_offsets: [at * size, (at + 1) * size] })
    const header = { 'lm_head.weight': entry(0), 'model.embed_tokens.weight': entry(1) }
    const bytes = safetensors(header, 1)
    bytes[bytes.byteLength - 1] = 1
    const path = await folder.write('in/model.safetensors', bytes)
    await truncate(path, bytes.byteLength - 1 + 2 * size)
    const { tensors } = await openHuggingFace(`${folder.path}/in`)
    expect((await untie({ model_type: 'llama', tie_word_embeddings: true }, tensors)).size).toBe(2)
  })
})
