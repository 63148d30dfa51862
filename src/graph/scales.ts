import type { GraphIndex } from './cut.js'

/** Each scale of a graph that is kept with whole numbers, and the weight that it belongs to: what one `DequantizeLinear` takes, the scale perhaps through a `Cast`. */
export function scaleOwners({ nodes, weights }: GraphIndex): ReadonlyMap<string, string> {
  const casts = new Map<string, string>()
  const owners = new Map<string, string>()
  for (const { opType, input, output } of nodes) {
    if (opType === 'Cast' && weights.has(input[0]!)) casts.set(output[0]!, input[0]!)
    if (opType !== 'DequantizeLinear' || !weights.has(input[0]!)) continue
    const scale = casts.get(input[1]!) ?? input[1]!
    if (weights.has(scale)) owners.set(scale, input[0]!)
  }
  return owners
}
