import { open } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { fragment, inspect } from '../../src/api/index.js'
import { openHuggingFace } from '../../src/sources/hf.js'
import { parseSafetensorsHeader } from '../../src/sources/safetensors.js'
import { checkpointBytes, safetensors, temporary } from './files.js'

const entry = (begin: number, end: number, shape: unknown = [(end - begin) / 4], dtype = 'F32') => ({
  dtype,
  shape,
  data_offsets: [begin, end],
})

async function opening(bytes: Uint8Array) {
  await using folder = await temporary()
  await folder.write('model.safetensors', bytes)
  return await openHuggingFace(folder.path)
}

describe('hostile safetensors', () => {
  const refused: [string, string, Uint8Array, RegExp][] = [
    ['1', 'an empty file', new Uint8Array(0), /0 bytes/],
    ['1', 'a file of seven bytes', new Uint8Array(7), /7 bytes/],
    ['1', 'an empty header', safetensors('', 0), /header is empty/],
    [
      '2',
      'a header of 2^63 bytes',
      Buffer.concat([Buffer.from('0000000000000080', 'hex'), Buffer.alloc(8)]),
      /claims 9223372036854775808 bytes, the limit/,
    ],
    [
      '2',
      'a header above the file',
      Buffer.concat([Buffer.from([200, 0, 0, 0, 0, 0, 0, 0]), Buffer.alloc(8)]),
      /claims 200 bytes, the file has 16/,
    ],
    ['3', 'a header that starts with a space', safetensors(' {}', 0), /does not start with/],
    ['3', 'a header that is a list', safetensors('[]', 0), /does not start with/],
    ['3', 'bad UTF-8', safetensors('{}', 0).fill(0xff, 9, 10), /valid UTF-8 JSON/],
    ['3', 'bad JSON', safetensors('{"a":}', 0), /valid UTF-8 JSON/],
    ['4', 'a duplicate tensor', safetensors(`{"a":${JSON.stringify(entry(0, 4))},"a":${JSON.stringify(entry(0, 4))}}`, 4), /duplicate key/],
    [
      '4',
      'a duplicate that is escaped',
      safetensors(`{"a":${JSON.stringify(entry(0, 4))},"\\u0061":${JSON.stringify(entry(0, 4))}}`, 4),
      /duplicate key/,
    ],
    ['4', 'a duplicate shape', safetensors('{"a":{"dtype":"F32","shape":[9],"shape":[1],"data_offsets":[0,4]}}', 4), /duplicate key/],
    ['5', 'an overlap', safetensors({ a: entry(0, 8), b: entry(4, 12) }, 12), /overlap at byte/],
    ['5', 'a hole', safetensors({ a: entry(0, 4), b: entry(8, 12) }, 12), /leave a hole/],
    ['5', 'trailing bytes', safetensors({ a: entry(0, 4) }, 5), /1 bytes follow/],
    ['6', 'reversed offsets', safetensors({ a: { dtype: 'F32', shape: [1], data_offsets: [4, 0] } }, 4), /data_offsets \[4, 0\]/],
    ['6', 'negative offsets', safetensors({ a: { dtype: 'F32', shape: [1], data_offsets: [-4, 0] } }, 4), /no valid data_offsets/],
    ['6', 'fractional offsets', safetensors({ a: { dtype: 'F32', shape: [1], data_offsets: [0, 4.5] } }, 4), /no valid data_offsets/],
    ['6', 'offsets beyond the file', safetensors({ a: entry(0, 400) }, 4), /truncated or damaged/],
    ['7', 'a shape that overflows', safetensors({ a: entry(0, 4, [2 ** 30, 2 ** 30]) }, 4), /impossible shape/],
    ['7', 'a negative dimension', safetensors({ a: entry(0, 4, [-1]) }, 4), /impossible shape/],
    ['7', 'a size that does not match', safetensors({ a: entry(0, 8, [1]) }, 8), /needs 4 bytes, its data_offsets give 8/],
    ['7', 'an unknown element type', safetensors({ a: entry(0, 4, [1], 'constructor') }, 4), /unknown element type/],
    ['10', 'metadata that is not text', safetensors({ __metadata__: { a: 1 } }, 0), /__metadata__/],
  ]
  it.each(refused)('%s: refuses %s', async (_number, _what, bytes, why) => {
    await expect(opening(bytes)).rejects.toMatchObject({ code: 'BAD_INPUT', message: expect.stringMatching(why) })
  })

  it('3: accepts spaces after the header', async () => {
    expect((await opening(safetensors(`${JSON.stringify({ a: entry(0, 4) })}     `, 4))).tensors.size).toBe(1)
  })

  it('8: refuses ten million tensors over one range before it makes objects of them', () => {
    const one = '"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},'
    const text = Buffer.from(`{${one.repeat(1_100_000)}"y":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`)
    expect(() => parseSafetensorsHeader(text, 0, 'a file')).toThrow(/more than 1000000 tensors/)
  })

  it.each([
    ['lists in lists', `{"x":${'['.repeat(5_000_000)}${']'.repeat(5_000_000)}}`, /nested deeper/],
    ['objects in objects', `{"x":{"y":${'{"z":'.repeat(100_000)}1${'}'.repeat(100_002)}`, /nested deeper/],
    [
      'a list of twenty million numbers',
      `{"x":{"dtype":"U8","data_offsets":[0,0],"shape":[${'0,'.repeat(20_000_000)}0]}}`,
      /more than \d+ values/,
    ],
    ['a name of a megabyte', `{"${'x'.repeat(1_000_000)}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, /longer than/],
  ])('2, 8: refuses %s before it makes objects of them', (_what, text, why) => {
    expect(() => parseSafetensorsHeader(Buffer.from(text), 0, 'a file')).toThrow(why)
  })

  it('9: accepts tensors of no elements and of no dimensions', async () => {
    const { tensors } = await opening(safetensors({ none: entry(0, 0, [0, 3]), scalar: entry(0, 4, []) }, 4))
    expect(tensors.get('none')).toMatchObject({ length: 0, shape: [0, 3] })
    expect(tensors.get('scalar')).toMatchObject({ length: 4, shape: [] })
  })

  it('10: names such as __proto__ and ../x are only names', async () => {
    await using folder = await temporary()
    await folder.write(
      'in/model.safetensors',
      checkpointBytes(['__proto__', '../x', '__proto__.weight', '../../etc.weight', 'a/b.c', 'constructor.a']),
    )
    await fragment(`${folder.path}/in`, { out: `${folder.path}/out` })
    const { modules } = await inspect(`${folder.path}/out`)
    expect(modules.map(({ path }) => path).sort()).toEqual(
      [
        'modules/%/%/@own.safetensors',
        'modules/%/%/%2F/%/%2Fetc.safetensors',
        'modules/@own.safetensors',
        'modules/__proto__.safetensors',
        'modules/a%2Fb.safetensors',
        'modules/constructor.safetensors',
      ].sort(),
    )
  })
})

describe('hostile sharded checkpoints', () => {
  const index = (map: object) => JSON.stringify({ weight_map: map })
  it.each(['../model.safetensors', '/etc/passwd', 'C:\\x', 'a/../b', '', 'a\\b', 'a\0b'])('11: refuses the shard name %j', async (name) => {
    await using folder = await temporary()
    await folder.write('model.safetensors.index.json', index({ a: name }))
    await expect(openHuggingFace(folder.path)).rejects.toMatchObject({
      code: 'BAD_INPUT',
      message: expect.stringContaining('unsafe shard'),
    })
  })

  it('11: refuses a missing shard, a tensor that its shard lacks, and more than 10,000 shards', async () => {
    await using folder = await temporary()
    await folder.write('model.safetensors.index.json', index({ a: 'one.safetensors' }))
    await expect(openHuggingFace(folder.path)).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await folder.write('one.safetensors', checkpointBytes(['b']))
    await expect(openHuggingFace(folder.path)).rejects.toMatchObject({
      code: 'MISSING',
      message: expect.stringContaining('not in its shard'),
    })
    await folder.write(
      'model.safetensors.index.json',
      index(Object.fromEntries(Array.from({ length: 10_001 }, (_, i) => [`t${i}`, `s${i}.safetensors`]))),
    )
    await expect(openHuggingFace(folder.path)).rejects.toMatchObject({ code: 'LIMIT' })
  })
})

describe('a source that changes', () => {
  it('13: truncated after its header was read, it is an error and nothing stays', async () => {
    await using folder = await temporary()
    const source = await folder.write('in/model.safetensors', checkpointBytes(Array.from({ length: 50 }, (_, i) => `m${i}.weight`)))
    const { planModelAsset } = await import('../../src/asset/model-asset.js')
    const { writeAssetFolder } = await import('../../src/asset/write-asset.js')
    const plan = await planModelAsset(await openHuggingFace(`${folder.path}/in`))
    const handle = await open(source, 'r+')
    await handle.truncate(3000)
    await handle.close()
    await expect(writeAssetFolder(plan, `${folder.path}/out`)).rejects.toMatchObject({
      code: 'CORRUPT',
      message: expect.stringContaining('changed or was truncated'),
    })
    const { readdir } = await import('node:fs/promises')
    expect(await readdir(folder.path)).toEqual(['in'])
  })

  it('12: writing an asset over its own source folder is refused', async () => {
    await using folder = await temporary()
    await folder.write('in/model.safetensors', checkpointBytes(['a.weight']))
    await expect(fragment(`${folder.path}/in`, { out: `${folder.path}/in` })).rejects.toMatchObject({
      code: 'BAD_USAGE',
      message: expect.stringContaining('exists already'),
    })
    expect((await openHuggingFace(`${folder.path}/in`)).tensors.size).toBe(1)
  })
})
