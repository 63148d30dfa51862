import { COMPACT_SUFFIX } from './compact.js'
import type { GraphIndex } from './cut.js'

/**
 * Each scale of a graph that is kept with whole numbers, and the weight that it belongs to: what one `DequantizeLinear` takes, the
 * scale perhaps through a `Cast`, and whatever is named as the parts of a weight in few bits are.
 */
export function scaleOwners({ nodes, weights }: GraphIndex): ReadonlyMap<string, string> {
  const casts = new Map<string, string>()
  const owners = new Map<string, string>()
  for (const { opType, input, output } of nodes) {
    if (opType === 'Cast' && weights.has(input[0]!)) casts.set(output[0]!, input[0]!)
    if (opType !== 'DequantizeLinear' || !weights.has(input[0]!)) continue
    const scale = casts.get(input[1]!) ?? input[1]!
    if (weights.has(scale)) owners.set(scale, input[0]!)
  }
  const suffixes = Object.values(COMPACT_SUFFIX).filter((suffix) => suffix !== '')
  for (const name of weights.keys()) {
    const owner = suffixes.map((suffix) => (name.endsWith(suffix) ? name.slice(0, -suffix.length) : '')).find((base) => weights.has(base))
    if (owner !== undefined) owners.set(name, owner)
  }
  return owners
}
