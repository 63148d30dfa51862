import type { Config } from '../../models/config.js'
import { familyOf } from '../../models/registry.js'
import { AssetError } from '../core/errors.js'
import type { TensorRef } from '../sources/checkpoint.js'
import { sameBytes } from '../sources/same-bytes.js'

/**
 * The tensors to store: those of the checkpoint without the tied copies. A tied tensor is stored once, under its owner's
 * name, where both names hold the same bytes; where they differ both are kept, as transformers does.
 * @throws AssetError 'ABORTED' | 'CORRUPT' | 'IO'
 */
export async function untie(
  config: Config | undefined,
  tensors: ReadonlyMap<string, TensorRef>,
  signal?: AbortSignal,
): Promise<Map<string, TensorRef>> {
  const kept = new Map(tensors)
  for (const [alias, owner] of tiesOf(config, new Set(tensors.keys()))) {
    const [a, b] = [tensors.get(alias), tensors.get(owner)]
    if (!a || !b || a.dtype !== b.dtype || a.length !== b.length || a.shape.join() !== b.shape.join()) continue
    if (a.packed?.type !== b.packed?.type || a.plus !== b.plus) continue
    if (await sameBytes(a, b, signal)) kept.delete(alias)
  }
  return kept
}

/** The ties of a family that is known; none for a config.json that is odd: it gives no graph either, and says why. */
function tiesOf(config: Config | undefined, names: ReadonlySet<string>): ReadonlyMap<string, string> {
  try {
    return (config && familyOf(config)?.ties(config, names)) ?? new Map()
  } catch (error) {
    if (!(error instanceof AssetError)) throw error
    return new Map()
  }
}
