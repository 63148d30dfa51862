import type { Config } from '../../models/config.js'
import { familyOf } from '../../models/registry.js'
import { AssetError, throwIfAborted } from '../core/errors.js'
import { LEAF } from '../core/limits.js'
import { readExactly, withFile } from '../core/read.js'
import type { TensorRef } from '../sources/checkpoint.js'

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

/** True where two tensors of one length hold the same bytes; reads no further than to the first difference. */
function sameBytes(a: TensorRef, b: TensorRef, signal: AbortSignal | undefined): Promise<boolean> {
  const step = Math.min(4 * LEAF, a.length)
  const buffers = [new Uint8Array(step), new Uint8Array(step)] as const
  return withFile(a.file.path, a.file.path, (one) =>
    withFile(b.file.path, b.file.path, async (two) => {
      for (let at = 0; at < a.length; at += step) {
        throwIfAborted(signal, 'compare tied tensors')
        const [left, right] = buffers.map((buffer) => buffer.subarray(0, Math.min(step, a.length - at))) as [Uint8Array, Uint8Array]
        await Promise.all([readExactly(one, left, a.offset + at, a.file.path), readExactly(two, right, b.offset + at, b.file.path)])
        if (Buffer.compare(left, right) !== 0) return false
      }
      return true
    }),
  )
}
