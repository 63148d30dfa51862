import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { create } from '@bufbuild/protobuf'
import { type FragmentOptions, fragment, putFolder, type Store } from '../../src/api/index.js'
import { fileDag } from '../../src/asset/dag.js'
import { decodeManifest, encodeManifest, GRAPH, MANIFEST } from '../../src/asset/manifest.js'
import { sumBytes } from '../../src/asset/sums.js'
import { AttributeProtoSchema, AttributeProto_AttributeType as AttributeType, type ModelProto } from '../../src/graph/generated/onnx_pb.js'
import { parseGraph, serializeGraph } from '../../src/graph/parse.js'
import { node } from '../graph/onnx.js'

/**
 * Fragments a checkpoint into the store as an asset that the native engine knows only in part: norms are followed by two
 * Neg, which cancel each other to the bit, and every second Attention says how its scores would be given out, though they are not.
 */
export async function fragmentDisguised(checkpoint: string, store: Store, options: Pick<FragmentOptions, 'dtype'> = {}): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'masset-test-'))
  try {
    const out = join(folder, 'asset')
    await fragment(checkpoint, { out, ...options })
    const model = parseGraph(new Uint8Array(await readFile(join(out, GRAPH))))
    disguise(model)
    const bytes = serializeGraph(model)
    const manifest = decodeManifest(new Uint8Array(await readFile(join(out, MANIFEST))))
    const files = new Map(manifest.files)
    files.set(GRAPH, { path: GRAPH, cid: (await fileDag(sumBytes(bytes))).cid, size: bytes.byteLength })
    await writeFile(join(out, GRAPH), bytes)
    await writeFile(join(out, MANIFEST), encodeManifest({ ...manifest, files }))
    return await putFolder(store, out)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

export function disguise({ graph }: ModelProto): void {
  const types = new Map(graph!.valueInfo.map((info) => [info.name, info]))
  const mode = () => create(AttributeProtoSchema, { name: 'qk_matmul_output_mode', type: AttributeType.INT, i: 0n })
  let attentions = 0
  graph!.node = graph!.node.flatMap((made) => {
    if (made.opType === 'Attention' && attentions++ % 2 === 1) made.attribute.push(mode())
    const [name] = made.output as [string]
    const type = types.get(name)
    if (!/Normalization$/.test(made.opType) || !type) return [made]
    made.output = [`${name} plain`]
    for (const step of ['plain', 'turned']) graph!.valueInfo.push({ ...type, name: `${name} ${step}` })
    return [made, node('Neg', [`${name} plain`], [`${name} turned`]), node('Neg', [`${name} turned`], [name])]
  })
}
