import type { GraphProto, NodeProto } from '../../graph/generated/onnx_pb.js'

const SCOPES = 'pkg.torch.onnx.name_scopes'
const SIGNATURE = 'pkg.torch.export.ExportedProgram.graph_signature'
// Scopes of a node are at most as long as the key of its module, for each level of it.
const LONGEST = 64 * 1024

/**
 * The key of the module that a node is a part of, as an exporter of PyTorch has it: in the node's metadata, which names
 * every module on the way to it (`['', 'encoder', 'encoder.layer.0', 'linear']`), or in its name (`/encoder/layer.0/MatMul`).
 * undefined where neither says one.
 */
export function moduleOf({ name, metadataProps }: NodeProto): string | undefined {
  const scopes = metadataProps.find(({ key }) => key === SCOPES)?.value
  if (scopes !== undefined && scopes.length < LONGEST) return [...scopes.matchAll(/'([^']*)'/g)].at(-2)?.[1]
  if (!name.startsWith('/') || name.length > LONGEST) return undefined
  return name.split('/').slice(1, -1).reduce(joined, '')
}

/**
 * A key with the next part of a node's name. That is the name of a module in the one above, after those of the lists that
 * it is in: below `encoder` it is `layer.0`. A list that is a module by itself comes again: below `stem` it is `stem.0`.
 */
function joined(key: string, part: string): string {
  const list = part.slice(0, part.lastIndexOf('.'))
  if (key === '') return part
  const again = list !== '' && part !== list && (key === list || key.endsWith(`.${list}`))
  return again ? `${key}${part.slice(list.length)}` : `${key}.${part}`
}

/** The keys of the state dict that an exporter noted in a graph; undefined where it noted none. */
export function notedKeys({ metadataProps }: GraphProto): ReadonlySet<string> | undefined {
  const noted = metadataProps.find(({ key }) => key === SIGNATURE)?.value
  const targets = noted?.matchAll(/: (?:PARAMETER|BUFFER|CONSTANT_TENSOR) target='([^']+)'/g)
  return targets && new Set([...targets].map(([, target]) => target!))
}
