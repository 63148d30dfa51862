import { link, mkdir, readdir, symlink, truncate } from 'node:fs/promises'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fragment } from '../../src/api/index.js'
import { AssetError } from '../../src/core/errors.js'
import { LIMITS } from '../../src/core/limits.js'
import { openCheckpoint } from '../../src/sources/open.js'
import { randomOf } from '../random.js'
import { temporary } from '../sources/files.js'
import { floats, modelJson, tfjsModels } from '../sources/tfjs-files.js'
import { openedOrRefused } from './tfjs-mutations.js'

const kernel = floats('dense/kernel', [2, 2])
const group = (weights: unknown, paths: unknown = ['a.bin']) => modelJson([{ paths, weights }])
const quantised = (dtype: string, quantization: unknown) => group([{ name: 'w', shape: [16], dtype, quantization }])
const many = (count: number, item: string) => `[${Array.from({ length: count }, () => item).join(',')}]`

/** What a model.json beside a.bin, of 16 bytes, is refused with. */
async function refusal(text: string, prepare?: (folder: string) => Promise<void>): Promise<string> {
  await using folder = await temporary()
  await folder.write('model/a.bin', new Uint8Array(16))
  const path = await folder.write('model/model.json', text)
  await prepare?.(folder.path)
  try {
    const { cid } = await fragment(path, { out: `${folder.path}/out` })
    return `it was taken as ${cid}`
  } catch (error) {
    expect(error).toBeInstanceOf(AssetError)
    // nothing half-written stays
    expect((await readdir(folder.path)).filter((name) => name !== 'model' && name !== 'outside')).toEqual([])
    return `${(error as AssetError).code} ${(error as AssetError).message}`
  }
}

describe('a hostile model.json', () => {
  it('37: as TensorFlow.js writes it is read', async () => {
    expect(await refusal(group([kernel]))).toMatch(/^it was taken as bafy/)
    expect(await refusal(group([kernel], ['a.bin']).replace('{', '{ \n '))).toMatch(/^it was taken as bafy/)
  })

  const paths = [
    '../a.bin',
    'x/../../a.bin',
    '/etc/passwd',
    'C:\\a.bin',
    '..\\a.bin',
    './a.bin',
    'x//a.bin',
    '',
    'a.bin\0',
    'a.bin ',
    '.. /a.bin',
  ]
  const urls = ['https://example.com/a.bin', 'file:///etc/passwd', 'data:,x', '//example.com/a.bin']
  it.each([...paths, ...urls])('37: names the shard %j', async (shard) => {
    expect(await refusal(group([kernel], [shard]))).toMatch(/^BAD_INPUT .*names the unsafe shard/)
  })

  const cases: [string, string, RegExp][] = [
    ['no weightsManifest', JSON.stringify({ modelTopology: {} }), /^BAD_INPUT .*has no weightsManifest; name the model\.json/],
    ['a weightsManifest that is no list', modelJson({ paths: [], weights: [] }), /BAD_INPUT .*has no weightsManifest/],
    ['a group that is none', modelJson([null]), /BAD_INPUT .*lacks paths or weights/],
    ['paths that are no texts', group([kernel], [7]), /BAD_INPUT .*lacks paths or weights/],
    ['weights that are none', group('all'), /BAD_INPUT .*lacks paths or weights/],
    ['a weight that is none', group([[]]), /BAD_INPUT .*a weight has no name/],
    ['a weight without a name', group([floats('', [4])]), /BAD_INPUT .*a weight has no name/],
    ['half of a character as a name', group([kernel]).replace('dense', '\\ud800'), /BAD_INPUT .*a weight has no name/],
    ['a name that is too long', group([floats('x'.repeat(5000), [4])]), /BAD_INPUT .*a weight has no name/],
    ['no shape', group([{ name: 'w', dtype: 'float32' }]), /BAD_INPUT .*"w" has no shape/],
    ['a shape of 33 dimensions', group([floats('w', Array(33).fill(1))]), /BAD_INPUT .*no shape of at most 32 dimensions/],
    ['a negative dimension', group([floats('w', [-4])]), /BAD_INPUT .*has the shape "\[-4\]"/],
    ['half a dimension', group([floats('w', [1.5])]), /BAD_INPUT .*has the shape/],
    ['a shape that overflows', group([floats('w', [2 ** 40, 2 ** 40])]), /BAD_INPUT .*has the shape/],
    ['shapes that overflow together', group([1, 2, 3].map((n) => floats(`w${n}`, [2 ** 50]))), /CORRUPT .*shards of 16 bytes/],
    ['texts', group([{ name: 'w', shape: [1], dtype: 'string' }]), /^UNSUPPORTED .*"w" is of "string"; .*save the model without it/],
    ['complex numbers', group([{ name: 'w', shape: [2], dtype: 'complex64' }]), /UNSUPPORTED .*"complex64"/],
    ['a dtype that is none', group([{ name: 'w', shape: [2], dtype: { toString: 1 } }]), /UNSUPPORTED .*is of/],
    ['a quantisation that is none', quantised('float32', null), /BAD_INPUT .*quantised to what is none of/],
    ['one of another kind', quantised('float32', { dtype: 'int4', scale: 1, min: 0 }), /BAD_INPUT .*quantised to what is none of/],
    ['one without a scale', quantised('float32', { dtype: 'uint8', min: 0 }), /BAD_INPUT .*without a scale and a min/],
    ['one whose scale is no number', quantised('float32', { dtype: 'uint8', scale: '1', min: 0 }), /BAD_INPUT .*without a scale/],
    [
      'booleans that are quantised',
      quantised('bool', { dtype: 'uint8', scale: 1, min: 0 }),
      /BAD_INPUT .*is of "bool", quantised to uint8/,
    ],
    ['whole numbers as halves', quantised('int32', { dtype: 'float16' }), /BAD_INPUT .*is of "int32", quantised to float16/],
    ['a short shard', group([floats('w', [5])]), /CORRUPT .*shards of 16 bytes are to hold weights of 20; get the model again/],
    ['a shard that is too long', group([floats('w', [3])]), /CORRUPT .*shards of 16 bytes are to hold weights of 12/],
    ['no shard', group([kernel], []), /CORRUPT .*shards of 0 bytes/],
    ['a shard twice', group([kernel, floats('w', [4])], ['a.bin', 'a.bin']), /BAD_INPUT .*names the shard "a\.bin" twice/],
    ['a shard that is missing', group([kernel], ['b.bin']), /NOT_FOUND .*b\.bin/],
    ['one name twice', group([floats('w', [2]), floats('w', [2])]), /BAD_INPUT .*two weights with the key "w"/],
    ['two names for one key', group([floats('a/b', [2]), floats('a.b', [2])]), /BAD_INPUT .*two weights with the key "a\.b"/],
    ['no weights', modelJson([]), /BAD_INPUT .*it holds no tensors/],
    [
      'too many shards',
      modelJson([{ paths: Array.from({ length: 10_001 }, (_, n) => `${n}`), weights: [] }]),
      /LIMIT .*more than 10000 shards/,
    ],
    ['JSON that is too deep', `${'{"a":'.repeat(200)}1${'}'.repeat(200)}`, /LIMIT .*nested deeper/],
    ['JSON that is cut off', group([kernel]).slice(0, -1), /BAD_INPUT .*not valid UTF-8 JSON/],
    ['no UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]).toString('latin1'), /BAD_INPUT .*weightsManifest/],
  ]
  it.each(cases)('37: %s', async (_, text, pattern) => {
    expect(await refusal(text)).toMatch(pattern)
  })

  it('37: names ten million values, or more weights than a checkpoint may have', async () => {
    expect(await refusal(`{"weightsManifest":${many(LIMITS.jsonValues, '1')}}`)).toMatch(/LIMIT .*more than 10000000 values/)
    const weights = many(LIMITS.tensors + 1, '{"name":"w","shape":[],"dtype":"bool"}')
    expect(await refusal(`{"weightsManifest":[{"paths":[],"weights":${weights}}]}`)).toMatch(/LIMIT .*more than 1000000 weights/)
  }, 30_000)

  it('37: is larger than a JSON file may be, before a byte of it is read', async () => {
    const grow = (folder: string) => truncate(`${folder}/model/model.json`, LIMITS.json + 1)
    expect(await refusal(group([kernel]), grow)).toMatch(/LIMIT .*the limit is/)
  })

  it('37, 33: has a link as its shard, or a folder that is one, or a pipe of a folder', async () => {
    const outside = async (folder: string, make: (target: string) => Promise<unknown>) => {
      await mkdir(`${folder}/outside`)
      await link(`${folder}/model/a.bin`, `${folder}/outside/a.bin`)
      await make(`${folder}/outside`)
    }
    const file = (folder: string) => outside(folder, (target) => symlink(`${target}/a.bin`, `${folder}/model/b.bin`))
    expect(await refusal(group([kernel], ['b.bin']), file)).toMatch(/BAD_INPUT .*the shard "b\.bin" is a link/)
    const through = (folder: string) => outside(folder, (target) => symlink(target, `${folder}/model/x`))
    expect(await refusal(group([kernel], ['x/a.bin']), through)).toMatch(/BAD_INPUT .*in a folder that is one/)
    expect(await refusal(group([kernel], ['x']), (folder) => mkdir(`${folder}/model/x`).then(() => undefined))).toMatch(
      /BAD_INPUT .*not a file/,
    )
  })

  it('37: has a shard that changes between reading its size and its bytes', async () => {
    await using folder = await temporary()
    const shard = await folder.write('a.bin', new Uint8Array(16))
    const { tensors } = await openCheckpoint(await folder.write('model.json', group([kernel])))
    const { file } = tensors.get('dense.kernel')!
    expect(file).toMatchObject({ path: shard, size: 16 })
    await truncate(shard, 8)
    await expect(fragment(folder.path, { out: `${folder.path}/out` })).rejects.toMatchObject({ code: 'CORRUPT' })
  })

  it('37: changed at random is refused with a typed error, or its weights are all within its shards', async () => {
    const models = Object.values(await tfjsModels())
    await using folder = await temporary()
    const seen = new Set<string>()
    await fc.assert(
      fc.asyncProperty(fc.nat(1), fc.nat(), async (model, seed) => {
        seen.add(await openedOrRefused(models[model]!, randomOf(seed), folder.path))
      }),
      { numRuns: 400 },
    )
    expect([...seen]).toEqual(expect.arrayContaining(['BAD_INPUT', 'CORRUPT', 'read']))
  })
})
