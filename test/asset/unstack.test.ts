import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { familyOf } from '../../models/registry.js'
import { fragment, seal } from '../../src/api/index.js'
import { readJson, stateDictOf } from '../models/checkpoint.js'
import { TINY_MIXTURES } from '../models/tiny.js'
import { sharedModel } from '../shared.js'
import { safetensors, temporary } from '../sources/files.js'

interface Tensor {
  readonly dtype: string
  readonly shape: readonly number[]
  readonly data: Buffer
}

/** The tensors of a checkpoint as a live module of transformers 5 has them: all experts of a layer in two tensors. */
async function stackedTensors(folder: string): Promise<Map<string, Tensor>> {
  const found = new Map<string, Tensor>()
  const stacks = new Map<string, Tensor[]>()
  for (const [name, { dtype, shape, location, offset, length }] of stateDictOf(folder)) {
    const data = (await readFile(`${folder}/${location}`)).subarray(offset, offset + length)
    const live = name
      .replace('block_sparse_moe', 'mlp')
      .replace('.w1.', '.gate_proj.')
      .replace('.w3.', '.up_proj.')
      .replace('.w2.', '.down_proj.')
    const [, layer, expert, product] = /^(.*\.experts)\.(\d+)\.(\w+)\.weight$/.exec(live) ?? []
    if (!layer) {
      found.set(live, { dtype, shape, data })
      continue
    }
    const stack = `${layer}.${product === 'down_proj' ? product : 'gate_up_proj'}`
    const parts = stacks.get(stack) ?? []
    parts[product === 'down_proj' ? Number(expert) : 2 * Number(expert) + (product === 'up_proj' ? 1 : 0)] = { dtype, shape, data }
    stacks.set(stack, parts)
  }
  for (const [name, parts] of stacks) {
    const [rows, width] = parts[0]!.shape as [number, number]
    const each = name.endsWith('down_proj') ? 1 : 2
    found.set(name, {
      dtype: parts[0]!.dtype,
      shape: [parts.length / each, each * rows, width],
      data: Buffer.concat(parts.map(({ data }) => data)),
    })
  }
  return found
}

function fileOf(tensors: ReadonlyMap<string, Tensor>): Uint8Array {
  let at = 0
  const header: Record<string, object> = {}
  for (const [name, { dtype, shape, data }] of tensors) {
    header[name] = { dtype, shape, data_offsets: [at, at + data.byteLength] }
    at += data.byteLength
  }
  return safetensors(header, Buffer.concat([...tensors.values()].map(({ data }) => data)))
}

/** A copy of a checkpoint with other weights. */
async function withWeights(folder: string, place: string, weights: ReadonlyMap<string, Tensor>): Promise<string> {
  await cp(folder, place, { recursive: true })
  for (const file of await readdir(place)) if (file.includes('safetensors')) await rm(`${place}/${file}`)
  await writeFile(`${place}/model.safetensors`, fileOf(weights))
  return place
}

describe.runIf(sharedModel('tiny-mixtral')).each(TINY_MIXTURES)('experts of %s that are stacked in one tensor', (name) => {
  const folder = sharedModel(name)!

  it('are the modules that published files have: the same asset, also sealed from fragments of the stacks', async () => {
    await using place = await temporary()
    const whole = await fragment(folder, { out: `${place.path}/whole` })
    const stacked = await stackedTensors(folder)
    expect([...stacked].filter(([, { shape }]) => shape.length === 3)).toHaveLength(4)
    const checkpoint = await withWeights(folder, `${place.path}/stacked`, stacked)
    expect(await fragment(checkpoint, { out: `${place.path}/out` })).toEqual(whole)
    // Whoever writes fragments of a live module knows nothing of experts.
    const config = await readFile(`${folder}/config.json`)
    await writeFile(`${checkpoint}/config.json`, JSON.stringify({ ...readJson(folder, 'config.json'), model_type: 'unknown' }))
    await fragment(checkpoint, { out: `${place.path}/live` })
    await writeFile(`${place.path}/live/config.json`, config)
    for (const file of ['asset.json', 'model.safetensors.index.json']) await rm(`${place.path}/live/${file}`)
    expect(await seal(`${place.path}/live`)).toEqual(whole)
    const files = async (path: string) => (await readdir(path, { recursive: true })).sort()
    expect(await files(`${place.path}/live`)).toEqual(await files(`${place.path}/whole`))
  })

  it('that are there by themselves too are refused', async () => {
    await using place = await temporary()
    const stacked = await stackedTensors(folder)
    const one = [...stateDictOf(folder)].find(([name]) => /experts\.0\./.test(name))!
    stacked.set(one[0], { dtype: one[1].dtype, shape: one[1].shape, data: Buffer.alloc(one[1].length) })
    const checkpoint = await withWeights(folder, `${place.path}/stacked`, stacked)
    await expect(fragment(checkpoint, { out: `${place.path}/out` })).rejects.toMatchObject({
      code: 'BAD_INPUT',
      message: expect.stringContaining('twice'),
    })
  })
})

describe('stacks that are none', () => {
  it.each([
    ['no matrices', [4, 8]],
    ['no experts', [0, 8, 4]],
    ['more experts than any model has', [2 ** 31, 8, 4]],
    ['rows that are no halves', [2, 7, 4]],
    ['one dimension more', [2, 2, 8, 4]],
  ])('stay as they are: %s', (_, shape) => {
    expect(familyOf({ model_type: 'olmoe' })!.parts!('model.layers.0.mlp.experts.gate_up_proj', shape)).toBeUndefined()
  })
})
