import { AssetError } from '../core/errors.js'
import { type Readable, readExactly } from '../core/read.js'
import { type SourceFile, type TensorRef, withSource } from './checkpoint.js'
import { readSafetensorsHeader } from './safetensors.js'

const [ZIP, EMPTY_ZIP] = ['PK\x03\x04', 'PK\x05\x06']
const PICKLE = 0x80
const TAR = 257
const OPEN_BRACE = 0x7b
// Field 1, a varint.
const IR_VERSION = 0x08

/**
 * Opens one file of weights by what is in it, whatever it is called: safetensors, or what torch.save wrote, as a ZIP
 * archive (TorchScript too) or stacked. Names of PyTorch lose what DataParallel and the like put before all of them, but
 * not in a shard, where it is not said that all are there. Reads headers only.
 * @throws AssetError 'BAD_INPUT' | 'UNSUPPORTED' | 'LIMIT' | 'MISSING' | 'CORRUPT' | 'NOT_FOUND' | 'IO'
 */
export function readTensors(path: string, isShard = false): Promise<ReadonlyMap<string, TensorRef>> {
  return withSource(path, async (handle, file) => tensorsOf(handle, file, await headOf(handle, file), isShard))
}

/** The first bytes of a file, by which it is told what it is. */
export async function headOf(handle: Readable, { path, size }: SourceFile): Promise<Buffer> {
  const head = Buffer.alloc(Math.min(size, TAR + 5))
  await readExactly(handle, head, 0, path)
  return head
}

/** The same of a file that is open. */
export async function tensorsOf(
  handle: Readable,
  file: SourceFile,
  head: Buffer,
  isShard = false,
): Promise<ReadonlyMap<string, TensorRef>> {
  const { path } = file
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
    `Cannot read ${path}: it is neither safetensors, GGUF, ONNX nor what torch.save writes; name a file or folder of weights`,
  )
}

/** True for the head of a file that may be a JSON object: it begins with a brace, and not with the length of a safetensors header, which has zeros. */
export function isJson(head: Uint8Array): boolean {
  return head[0] === OPEN_BRACE && !head.subarray(0, 8).includes(0)
}

/** True for the head of a file that may be an ONNX model: a protobuf message that says its IR version first, as all that write them do. */
export function isOnnx(head: Uint8Array): boolean {
  return head[0] === IR_VERSION && head[8] !== OPEN_BRACE
}

/** The tensors of a safetensors file, which nothing else may be. @throws AssetError as {@link readTensors} does */
export function openSafetensors(path: string): Promise<ReadonlyMap<string, TensorRef>> {
  return withSource(path, safetensorsOf)
}

async function safetensorsOf(handle: Readable, file: SourceFile): Promise<Map<string, TensorRef>> {
  const { tensors } = await readSafetensorsHeader(handle, file.size, file.path)
  return new Map([...tensors].map(([name, tensor]) => [name, { ...tensor, file }]))
}
