import { link, open, rename, symlink, writeFile } from 'node:fs/promises'
import { create, toBinary } from '@bufbuild/protobuf'
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import { describe, expect, it } from 'vitest'
import { fragment, inspect } from '../../src/api/index.js'
import {
  TensorProto_DataLocation as DataLocation,
  TensorProto_DataType as DataType,
  ModelProtoSchema,
  type TensorProto,
  TensorProtoSchema,
} from '../../src/graph/generated/onnx_pb.js'
import { serializeGraph } from '../../src/graph/parse.js'
import { openCheckpoint } from '../../src/sources/open.js'
import { floats, holding, integers, modelOf, node, type Parts, value } from '../graph/onnx.js'
import { temporary } from '../sources/files.js'
import { refusal as refusedFile } from './refusal.js'

const { FLOAT, INT64 } = DataType

/** A tensor with these entries of external data. */
function outside(entries: Record<string, string>, dims = [4], name = 'fc.weight', dataType = FLOAT): TensorProto {
  const externalData = Object.entries(entries).map(([key, value]) => ({ key, value }))
  return create(TensorProtoSchema, { name, dataType, dims: dims.map(BigInt), dataLocation: DataLocation.EXTERNAL, externalData })
}

const parts = (weight: TensorProto, rest: Parts = {}): Parts => ({
  input: [value('x', FLOAT)],
  initializer: [weight],
  node: [node('Add', ['x', weight.name], ['y'])],
  output: [value('y', FLOAT)],
  ...rest,
})
const file = (weight: TensorProto, rest: Parts = {}) => serializeGraph(modelOf(parts(weight, rest)))

/** What opening a model says that lies in a folder with a file `w.bin` of 16 bytes; `prepare` may change the folder. */
async function refusal(bytes: Uint8Array, prepare?: (folder: string) => Promise<void>): Promise<string> {
  await using folder = await temporary()
  await folder.write('secret.bin', Buffer.alloc(16, 1))
  await folder.write('model/w.bin', Buffer.alloc(16, 2))
  await prepare?.(folder.path)
  const path = await folder.write('model/model.onnx', bytes)
  try {
    await fragment(path, { out: `${folder.path}/out` })
    return 'taken'
  } catch (error) {
    return `${(error as { code: string }).code} ${(error as Error).message}`
  }
}

describe('external data of an ONNX model', () => {
  it('is read where all is well', async () => {
    expect(await refusal(file(outside({ location: 'w.bin' })))).toBe('taken')
  })

  const locations = [
    '../secret.bin',
    '/etc/passwd',
    'C:\\w.bin',
    'C:w.bin',
    'a/../w.bin',
    './w.bin',
    'a\\w.bin',
    '',
    'w.bin\0',
    'w.bin ',
    '\u0001',
  ]
  it.each(locations)('32: the location %j is refused', async (location) => {
    expect(await refusal(file(outside({ location })))).toMatch(/^BAD_INPUT Cannot read .*external location/)
  })

  const links: [string, string, (folder: string) => Promise<void>][] = [
    ['a link out of the folder', 'is a link', (folder) => symlink(`${folder}/secret.bin`, `${folder}/model/l.bin`)],
    ['a link within the folder', 'is a link', (folder) => symlink('w.bin', `${folder}/model/l.bin`)],
    ['a hard link', 'is a hard link', (folder) => link(`${folder}/secret.bin`, `${folder}/model/l.bin`)],
  ]
  it.each(links)('33: %s is refused', async (_, why, prepare) => {
    expect(await refusal(file(outside({ location: 'l.bin' })), prepare)).toMatch(new RegExp(`^BAD_INPUT .*"l.bin" ${why}`))
  })

  it('33: a folder on the way that is a link is refused, and so is a folder itself', async () => {
    const prepare = (folder: string) => symlink(folder, `${folder}/model/up`)
    expect(await refusal(file(outside({ location: 'up/secret.bin' })), prepare)).toMatch(/"up\/secret.bin" is a link/)
    expect(await refusal(file(outside({ location: 'up' })), prepare)).toMatch(/is a link/)
    expect(await refusal(file(outside({ location: 'none.bin' })))).toMatch(/^NOT_FOUND Cannot open .*none.bin: no such file/)
  })

  it('33: links inside the Hugging Face cache are followed', async () => {
    await using folder = await temporary()
    const [cache, before] = [`${folder.path}/hub`, process.env.HF_HUB_CACHE]
    await folder.write('hub/m/blobs/1', Buffer.alloc(16, 3))
    await folder.write('hub/m/blobs/2', file(outside({ location: 'w.bin' })))
    await folder.write('hub/m/snapshots/r/README.md', '')
    await symlink('../../blobs/1', `${cache}/m/snapshots/r/w.bin`)
    await symlink('../../blobs/2', `${cache}/m/snapshots/r/model.onnx`)
    const opened = () => openCheckpoint(`${cache}/m/snapshots/r/model.onnx`)
    await expect(opened()).rejects.toMatchObject({ code: 'BAD_INPUT' })
    process.env.HF_HUB_CACHE = cache
    try {
      expect((await opened()).tensors.get('fc.weight')!.file.path).toMatch(/blobs\/1$/)
      await folder.write('secret.bin', Buffer.alloc(16))
      await rename(`${cache}/m/snapshots/r/w.bin`, `${cache}/m/snapshots/r/old`)
      await symlink(`${folder.path}/secret.bin`, `${cache}/m/snapshots/r/w.bin`)
      await expect(opened()).rejects.toMatchObject({ code: 'BAD_INPUT', message: expect.stringContaining('is a link') })
    } finally {
      if (before === undefined) delete process.env.HF_HUB_CACHE
      else process.env.HF_HUB_CACHE = before
    }
  })

  it('34: a file that is another one when it is read is refused, and nothing is left behind', async () => {
    await using folder = await temporary()
    await folder.write('w.bin', Buffer.alloc(16, 2))
    const path = await folder.write('model.onnx', file(outside({ location: 'w.bin' })))
    const checkpoint = await openCheckpoint(path)
    await rename(await folder.write('new.bin', Buffer.alloc(16, 9)), `${folder.path}/w.bin`)
    const { planModelAsset } = await import('../../src/asset/model-asset.js')
    const { writeAssetFolder } = await import('../../src/asset/write-asset.js')
    await expect(writeAssetFolder(await planModelAsset(checkpoint), `${folder.path}/out`)).rejects.toMatchObject({ code: 'CORRUPT' })
    await expect(inspect(`${folder.path}/out`)).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  const entries: [string, Record<string, string>, RegExp][] = [
    ['an unknown key', { location: 'w.bin', basepath: '/' }, /BAD_INPUT .*unknown key "basepath"/],
    ['a negative length', { location: 'w.bin', length: '-16' }, /BAD_INPUT .*length "-16" is not a byte count/],
    ['a length that is no number', { location: 'w.bin', length: '0x10' }, /BAD_INPUT .*length "0x10" is not a byte count/],
    [
      'a length of petabytes',
      { location: 'w.bin', length: '1125899906842624' },
      /BAD_INPUT .*length is 1125899906842624 bytes, its shape needs 16/,
    ],
    ['an offset of petabytes', { location: 'w.bin', offset: '1125899906842624' }, /BAD_INPUT .*which has 16; it is cut off/],
    ['an offset beyond all', { location: 'w.bin', offset: '99999999999999999999' }, /BAD_INPUT .*is not a byte count/],
    ['one byte too many', { location: 'w.bin', offset: '1' }, /BAD_INPUT .*ends at byte 17 of .*w.bin, which has 16/],
  ]
  it.each(entries)('35: %s is refused', async (_, entry, message) => {
    expect(await refusal(file(outside(entry)))).toMatch(message)
  })

  it('that is twenty gigabytes of nothing is opened in little memory, without reading it', async () => {
    await using folder = await temporary()
    const size = 20 * 1024 ** 3
    const handle = await open(`${folder.path}/w.bin`, 'w')
    await handle.truncate(size)
    await handle.close()
    const half = [size / 2 / 4 / 4096, 4096]
    const weights = [0, 1].map((at) => outside({ location: 'w.bin', offset: String((at * size) / 2) }, half, `fc${at}.weight`))
    const nodes = [node('Add', ['x', 'fc0.weight'], ['z']), node('Add', ['z', 'fc1.weight'], ['y'])]
    const path = await folder.write('model.onnx', file(weights[0]!, { initializer: weights, node: nodes }))
    const before = process.memoryUsage().rss
    const checkpoint = await openCheckpoint(path)
    expect([...checkpoint.tensors.values()].map(({ offset, length }) => [offset, length])).toEqual([
      [0, size / 2],
      [size / 2, size / 2],
    ])
    expect(process.memoryUsage().rss - before).toBeLessThan(100e6)
  })

  it('that many tensors share is refused where it would be far larger than its files', async () => {
    const weights = Array.from({ length: 100 }, (_, at) => outside({ location: 'w.bin' }, [4], `fc${at}.weight`))
    const nodes = weights.map(({ name }, at) => node('Add', [at === 0 ? 'x' : `y${at - 1}`, name], [at === 99 ? 'y' : `y${at}`]))
    const big = async (folder: string) => writeFile(`${folder}/model/w.bin`, Buffer.alloc(1e6))
    const long = weights.map(({ name }) => outside({ location: 'w.bin' }, [250_000], name))
    expect(await refusal(file(long[0]!, { initializer: long, node: nodes }), big)).toMatch(/^LIMIT .*100000000 bytes, more than 64 times/)
  })
})

describe('36: an ONNX file', () => {
  const refused = (bytes: Uint8Array) => refusedFile(bytes)
  const tag = (number: number, wire: WireType) => new BinaryWriter().tag(number, wire)
  const good = file(floats('fc.weight', [1, 2, 3, 4]))
  const start = Uint8Array.of(8, 8)

  it('as exporters write it is taken', async () => {
    expect(await refused(good)).toMatch(/^it was taken as bafy/)
  })

  it('cut off at any byte is refused, or was cut between two fields', async () => {
    for (let length = 2; length < good.byteLength; length += 3)
      expect(await refused(good.subarray(0, length))).toMatch(/^BAD_INPUT Cannot (read|run|fragment)|^CORRUPT/)
  })

  const cases: [string, Uint8Array, RegExp][] = [
    ['a varint that does not end', Buffer.concat([start, Buffer.alloc(20, 0xff)]), /BAD_INPUT .*begins a number that does not end/],
    ['a message longer than the file', Buffer.concat([start, tag(7, WireType.LengthDelimited).uint32(1000).finish()]), /runs past the end/],
    ['a group', Buffer.concat([start, tag(7, WireType.StartGroup).finish()]), /has the wire type 3/],
    ['no graph', Buffer.concat([start, Buffer.of(0x22, 1, 97)]), /it has no graph/],
    ['nothing but its version', Uint8Array.of(8, 8), /it has no graph/],
    ['field 0', Buffer.concat([start, Buffer.of(0, 1)]), /BAD_INPUT/],
  ]
  it.each(cases)('with %s is refused', async (_, bytes, message) => {
    expect(await refused(bytes)).toMatch(message)
  })

  it('that is nested deeper than 100 messages is refused', async () => {
    const deep = toBinary(ModelProtoSchema, modelOf({ node: [holding(node('If', ['c'], ['y']), { then_branch: chain(60) })] }))
    expect(await refused(deep)).toMatch(/BAD_INPUT .*nested deeper than 100 messages/)
  })

  function chain(depth: number): Parts {
    const initializer = [floats('p', Array(99).fill(1))]
    return depth === 0 ? { initializer } : { initializer, node: [holding(node('If', ['c'], ['y']), { then_branch: chain(depth - 1) })] }
  }

  it('with other data than its shape says is refused', async () => {
    for (const dims of [[5], [2, 2, 2], [-4], [2 ** 40, 2 ** 40]])
      expect(await refused(file(Object.assign(floats('fc.weight', [1, 2, 3, 4]), { dims: dims.map(BigInt) })))).toMatch(
        /^BAD_INPUT .*(its shape|is not a size)/,
      )
    const typed = create(TensorProtoSchema, { name: 'fc.weight', dataType: INT64, dims: [2n], floatData: [1, 2, 3, 4] })
    expect(await refused(file(typed))).toMatch(/^BAD_INPUT .*has its data in floatData/)
  })

  it('with both data inside and a file that it names is refused', async () => {
    const both = Object.assign(outside({ location: 'w.bin' }), { rawData: Buffer.alloc(16) })
    expect(await refusal(file(both))).toMatch(/^BAD_INPUT .*its external data gives location twice/)
  })

  it('of more than 2 GiB is refused before it is read', async () => {
    await using folder = await temporary()
    const path = await folder.write('model.onnx', good)
    const handle = await open(path, 'r+')
    await handle.truncate(2 ** 31)
    await handle.close()
    await expect(openCheckpoint(path)).rejects.toMatchObject({ code: 'BAD_INPUT', message: expect.stringContaining('at most 2147483647') })
  })

  it('with almost two gigabytes in one initializer is opened in little memory', async () => {
    await using folder = await temporary()
    const length = 2 ** 30
    const tensor = toBinary(
      TensorProtoSchema,
      create(TensorProtoSchema, { name: 'fc.weight', dataType: FLOAT, dims: [BigInt(length / 4)] }),
    )
    const raw = tag(9, WireType.LengthDelimited).uint32(length).finish()
    const rest = toBinary(ModelProtoSchema, modelOf({ ...parts(floats('fc.weight', [])), initializer: [] }))
    const inner = tag(5, WireType.LengthDelimited)
      .uint32(tensor.byteLength + raw.byteLength + length)
      .finish()
    const graph = tag(7, WireType.LengthDelimited)
      .uint32(inner.byteLength + tensor.byteLength + raw.byteLength + length)
      .finish()
    // A second graph field is merged with the first.
    const head = Buffer.concat([rest, graph, inner, tensor, raw])
    const path = await folder.write('model.onnx', head)
    const handle = await open(path, 'r+')
    await handle.truncate(head.byteLength + length)
    await handle.close()
    const before = process.memoryUsage().rss
    const { tensors } = await openCheckpoint(path)
    expect(tensors.get('fc.weight')).toMatchObject({ offset: head.byteLength, length })
    expect(process.memoryUsage().rss - before).toBeLessThan(100e6)
  })

  it('with data where only an engine would open it is refused', async () => {
    const hidden = node('ConstantOfShape', ['s'], ['y'], { value: outside({ location: 'w.bin' }, [4]) })
    const model = modelOf({ initializer: [integers('s', [1]), floats('fc.weight', [1])], node: [hidden], output: [value('y', FLOAT)] })
    expect(await refusal(serializeGraph(model))).toMatch(/^BAD_INPUT .*which only an initializer of the main graph may do/)
  })
})
