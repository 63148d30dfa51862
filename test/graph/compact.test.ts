import { writeFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { decodePacked } from '../../src/asset/convert/packed/decode.js'
import { fieldsOf, takeField } from '../../src/asset/convert/packed/fields.js'
import { GraphBuilder, type Value } from '../../src/graph/build.js'
import { COMPACT_SUFFIX } from '../../src/graph/compact.js'
import { matrix, tableRows } from '../../src/graph/low-bit.js'
import { serializeGraph } from '../../src/graph/parse.js'
import type { WeightRef } from '../../src/graph/weights.js'
import { PACKED, type PackedType } from '../../src/sources/gguf/types.js'
import { randomOf } from '../random.js'
import { temporary } from '../sources/files.js'
import { packed } from '../sources/gguf-files.js'
import { bitsOf, packedGolden } from '../sources/packed-golden.js'

const runtime = await import('onnxruntime-node').catch(() => undefined)
const TYPE_NAMES = Object.keys(PACKED) as PackedType[]

/** The tensors that blocks (rows, inputs) become, in one file, and where each is. */
function apart(type: PackedType, blocks: Uint8Array, rows: number, inputs: number, table: boolean) {
  const weights = new Map<string, WeightRef>()
  const parts: Uint8Array[] = []
  let offset = 0
  const count = (rows * inputs) / PACKED[type].elements
  for (const field of fieldsOf({ type, table })) {
    const bytes = new Uint8Array(count * field.bytes)
    takeField(type, field, blocks, count, bytes)
    const { dtype, suffix, per } = field
    weights.set(`m.weight${suffix}`, { dtype, shape: [rows, inputs / per], location: 'w.bin', offset, length: bytes.byteLength })
    parts.push(bytes)
    offset += bytes.byteLength
  }
  return { weights, bytes: Buffer.concat(parts) }
}

describe('weights that GGUF packs', () => {
  it.each(TYPE_NAMES)('%s stands for what the gguf package makes of it, bit for bit', (type) => {
    const { blocks, float32 } = packedGolden(type)
    const found = new Float32Array(float32.length)
    decodePacked(type, blocks, found.length, found)
    expect(bitsOf(found)).toEqual(bitsOf(float32))
  })

  it('cost as many bytes as in the file, but for those whose scales are of 6 bits', () => {
    const bytes = (type: PackedType, table = false) => fieldsOf({ type, table }).reduce((sum, field) => sum + field.bytes, 0)
    for (const type of TYPE_NAMES) {
      const more = { Q3_K: 4, Q4_K: 4, Q5_K: 4 }[type as string] ?? 0
      expect([type, bytes(type)]).toEqual([type, PACKED[type].bytes + more])
    }
    expect(bytes('Q4_0', true)).toBe(34)
  })

  it.runIf(runtime).each(TYPE_NAMES)('%s in ONNX Runtime: a matrix and rows of a table, bit for bit', async (type) => {
    const { InferenceSession, Tensor } = runtime!
    const [rows, inputs] = [6, 512]
    const blocks = packed(type, rows * inputs, randomOf(3), 8)
    blocks.set(packedGolden(type).blocks)
    const wanted = new Float32Array(rows * inputs)
    decodePacked(type, blocks, wanted.length, wanted)
    await using folder = await temporary()
    const run = async (table: boolean, make: (graph: GraphBuilder) => Value, feeds: Record<string, InstanceType<typeof Tensor>>) => {
      const { weights, bytes } = apart(type, blocks, rows, inputs, table)
      await folder.write('w.bin', bytes)
      const graph = new GraphBuilder('test', weights)
      const made = make(graph)
      graph.output(made)
      await writeFile(`${folder.path}/model.onnx`, serializeGraph(graph.finish()))
      const session = await InferenceSession.create(`${folder.path}/model.onnx`)
      const { [made.name]: result } = await session.run(feeds)
      await session.release()
      return result!
    }
    const whole = await run(false, (graph) => matrix(graph.module('m'), 'weight', [rows, inputs]), {})
    expect(whole.dims).toEqual([rows, inputs])
    expect(bitsOf(whole.data as Float32Array)).toEqual(bitsOf(wanted))
    const ids = [5, 0, 0, 3]
    const picked = await run(
      true,
      (graph) => tableRows(graph.module('m'), 'weight', [rows, inputs], graph.input('ids', 'I64', ['batch', 'sequence'])),
      { ids: new Tensor('int64', BigInt64Array.from(ids, BigInt), [2, 2]) },
    )
    expect(picked.dims).toEqual([2, 2, inputs])
    expect(bitsOf(picked.data as Float32Array)).toEqual(bitsOf(ids.flatMap((id) => [...wanted.subarray(id * inputs, (id + 1) * inputs)])))
  })

  it('whose tensors are missing or don’t fit make no graph, and each is named', () => {
    const { weights } = apart('Q4_K', packed('Q4_K', 512, randomOf(1)), 2, 256, false)
    const build = (changed: Map<string, WeightRef>) => matrix(new GraphBuilder('test', changed).module('m'), 'weight', [2, 256])
    build(weights)
    for (const suffix of Object.values(COMPACT_SUFFIX).filter((suffix) => weights.has(`m.weight${suffix}`) && suffix !== '')) {
      const without = new Map(weights)
      without.delete(`m.weight${suffix}`)
      expect(() => build(without)).toThrow(/^Cannot build the graph: .*m\.weight/)
      const other = new Map(weights).set(`m.weight${suffix}`, { ...weights.get(`m.weight${suffix}`)!, shape: [2, 5] })
      expect(() => build(other)).toThrow(new RegExp(`^Cannot build the graph: tensor m.weight${suffix} is of .*\\[2, 5\\], expected`))
    }
  })
})
