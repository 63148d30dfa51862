import type { FileHandle } from 'node:fs/promises'
import { throwIfAborted } from '../core/errors.js'
import { LEAF } from '../core/limits.js'
import { readExactly, withFile } from '../core/read.js'
import type { ByteSource, TensorRef } from './checkpoint.js'
import { LARGEST_WINDOW, scatter, windowsOf } from './strided.js'

/** True where two tensors of one length hold the same bytes; reads no further than to the first difference. */
export function sameBytes(a: TensorRef, b: TensorRef, signal?: AbortSignal): Promise<boolean> {
  if (a.file.path === b.file.path && a.offset === b.offset && a.strided === undefined && b.strided === undefined)
    return Promise.resolve(true)
  const step = Math.min(4 * LEAF, a.length)
  const buffers = [new Uint8Array(step), new Uint8Array(step)] as const
  return withFile(a.file.path, a.file.path, (one) =>
    withFile(b.file.path, b.file.path, async (two) => {
      for (let at = 0; at < a.length; at += step) {
        throwIfAborted(signal, 'compare tensors')
        const [left, right] = buffers.map((buffer) => buffer.subarray(0, Math.min(step, a.length - at))) as [Uint8Array, Uint8Array]
        await Promise.all([readRun(one, a, left, at), readRun(two, b, right, at)])
        if (Buffer.compare(left, right) !== 0) return false
      }
      return true
    }),
  )
}

/** Fills `target` with the bytes of a tensor from its byte `from` on. @throws AssetError 'CORRUPT' | 'IO' */
export async function readRun(handle: FileHandle, { file, offset, strided }: ByteSource, target: Uint8Array, from: number): Promise<void> {
  let gathered: Uint8Array | undefined
  for (const window of windowsOf(offset, strided, from, target.byteLength)) {
    const { position, length, dimensions, to } = window
    if (dimensions.length === 0) await readExactly(handle, target.subarray(to, to + length), position, file.path)
    else {
      gathered ??= new Uint8Array(LARGEST_WINDOW)
      await readExactly(handle, gathered.subarray(0, length), position, file.path)
      scatter(window, gathered, target)
    }
  }
}
