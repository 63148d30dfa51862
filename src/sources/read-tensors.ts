import type { FileHandle } from 'node:fs/promises'
import { AssetError } from '../core/errors.js'
import { readExactly, withFile } from '../core/read.js'
import { type SourceFile, sourceFile, type TensorRef } from './checkpoint.js'
import { readSafetensorsHeader } from './safetensors.js'

const [ZIP, EMPTY_ZIP] = ['PK\x03\x04', 'PK\x05\x06']
const PICKLE = 0x80
const TAR = 257
const OPEN_BRACE = 0x7b

/**
 * Opens one file of weights by what is in it, whatever it is called: safetensors, or what torch.save wrote, as a ZIP
 * archive (TorchScript too) or stacked. Names of PyTorch lose what DataParallel and the like put before all of them, but
 * not in a shard, where it is not said that all are there. Reads headers only.
 * @throws AssetError 'BAD_INPUT' | 'UNSUPPORTED' | 'LIMIT' | 'MISSING' | 'CORRUPT' | 'NOT_FOUND' | 'IO'
 */
export function readTensors(path: string, isShard = false): Promise<ReadonlyMap<string, TensorRef>> {
  return withFile(path, path, async (handle, facts) => {
    const file = sourceFile(path, facts)
    const head = Buffer.alloc(Math.min(file.size, TAR + 5))
    await readExactly(handle, head, 0, path)
    // First, since the length before the brace may begin with any byte.
    if (head[8] === OPEN_BRACE) return safetensorsOf(handle, file)
    const magic = head.toString('latin1', 0, 4)
    const isZip = magic === ZIP || magic === EMPTY_ZIP
    if (isZip || head[0] === PICKLE) {
      // Loaded only where it is needed: most weights are safetensors.
      const { readTorch } = await import('./torch/read.js')
      return readTorch(handle, file, { isZip, isShard })
    }
    if (head.toString('latin1', TAR) === 'ustar')
      throw new AssetError(
        'UNSUPPORTED',
        `Cannot read ${path}: it is a tar, as PyTorch before 0.2 wrote them; load and save it with a newer one`,
      )
    throw new AssetError(
      'BAD_INPUT',
      `Cannot read ${path}: it is neither safetensors nor what torch.save writes; name a file or folder of weights`,
    )
  })
}

/** True for a file that may be a JSON object: it begins with a brace, and not with the length of a safetensors header, which has zeros. */
export function beginsLikeJson(path: string): Promise<boolean> {
  return withFile(path, path, async (handle, { size }) => {
    const head = new Uint8Array(Math.min(size, 8))
    await readExactly(handle, head, 0, path)
    return head[0] === OPEN_BRACE && !head.includes(0)
  })
}

/** The tensors of a safetensors file, which nothing else may be. @throws AssetError as {@link readTensors} does */
export function openSafetensors(path: string): Promise<ReadonlyMap<string, TensorRef>> {
  return withFile(path, path, (handle, facts) => safetensorsOf(handle, sourceFile(path, facts)))
}

async function safetensorsOf(handle: FileHandle, file: SourceFile): Promise<Map<string, TensorRef>> {
  const { tensors } = await readSafetensorsHeader(handle, file.size, file.path)
  return new Map([...tensors].map(([name, tensor]) => [name, { ...tensor, file }]))
}
