import { isDeepStrictEqual } from 'node:util'
import { dtypeSize } from '../core/dtypes.js'
import { throwIfAborted } from '../core/errors.js'
import { LEAF } from '../core/limits.js'
import { type Readable, readExactly } from '../core/read.js'
import { type ByteSource, type TensorRef, withSource } from './checkpoint.js'
import { PACKED } from './gguf/types.js'
import { LARGEST_WINDOW, scatter, windowsOf } from './strided.js'

/** True where two tensors of one length hold the same bytes; reads no further than to the first difference. */
export async function sameBytes(a: TensorRef, b: TensorRef, signal?: AbortSignal): Promise<boolean> {
  // As a file has them that PyTorch wrote: the same place, which need not be read.
  if (a.file.path === b.file.path && a.offset === b.offset && isDeepStrictEqual(a.strided, b.strided)) return true
  const length = bytesInFile(a)
  const step = Math.min(4 * LEAF, length)
  const buffers = [new Uint8Array(step), new Uint8Array(step)] as const
  return withSource(a.file.path, (one) =>
    withSource(b.file.path, async (two) => {
      for (let at = 0; at < length; at += step) {
        throwIfAborted(signal, 'compare tensors')
        const [left, right] = buffers.map((buffer) => buffer.subarray(0, Math.min(step, length - at))) as [Uint8Array, Uint8Array]
        await Promise.all([readRun(one, a, left, at), readRun(two, b, right, at)])
        if (Buffer.compare(left, right) !== 0) return false
      }
      return true
    }),
  )
}

/** Bytes of a tensor in its file, fewer than its own where they are packed. */
function bytesInFile({ length, packed }: TensorRef): number {
  if (!packed) return length
  const { elements, bytes } = PACKED[packed.type]
  return (length / dtypeSize('F32') / elements) * bytes
}

/** Fills `target` with the bytes of a tensor from its byte `from` on. @throws AssetError 'CORRUPT' | 'IO' */
export async function readRun(handle: Readable, { file, offset, strided }: ByteSource, target: Uint8Array, from: number): Promise<void> {
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
