import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import type { Config } from '../../models/config.js'
import { familyOf } from '../../models/registry.js'
import { ioError, throwIfAborted } from '../core/errors.js'
import { LEAF } from '../core/limits.js'
import { readExactly } from '../core/read.js'
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
  const ties = (config && familyOf(config)?.ties(config, new Set(tensors.keys()))) ?? new Map<string, string>()
  for (const [alias, owner] of ties) {
    const [a, b] = [tensors.get(alias), tensors.get(owner)]
    if (!a || !b || a.dtype !== b.dtype || a.length !== b.length || a.shape.join() !== b.shape.join()) continue
    if ((await digest(a, signal)) === (await digest(b, signal))) kept.delete(alias)
  }
  return kept
}

async function digest({ file, offset, length }: TensorRef, signal: AbortSignal | undefined): Promise<string> {
  const hash = createHash('sha256')
  const buffer = new Uint8Array(Math.min(4 * LEAF, length))
  const handle = await open(file.path, 'r').catch((error: unknown) => {
    throw ioError(`read ${file.path}`, error)
  })
  try {
    for (let at = 0; at < length; at += buffer.byteLength) {
      throwIfAborted(signal, 'compare tied tensors')
      const piece = buffer.subarray(0, Math.min(buffer.byteLength, length - at))
      await readExactly(handle, piece, offset + at, file.path)
      hash.update(piece)
    }
  } finally {
    await handle.close()
  }
  return hash.digest('hex')
}
