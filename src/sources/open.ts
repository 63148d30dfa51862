import { stat } from 'node:fs/promises'
import { ioError } from '../core/errors.js'
import { type Checkpoint, withSource } from './checkpoint.js'
import { openHuggingFace } from './hf.js'
import { isMounted, mountedAt } from './mounts.js'
import { headOf, isJson, isOnnx, tensorsOf } from './read-tensors.js'

/** What a GGUF file begins with. */
const MAGIC = 'GGUF'

/**
 * Opens somebody's published weights: a folder as Hugging Face has them, the model.json of a TensorFlow.js model, or a single
 * file, which comes alone, without what lies beside it; of GGUF, config and tokenizer are in it. Reads headers only.
 * @throws AssetError 'NOT_FOUND' | 'BAD_INPUT' | 'UNSUPPORTED' | 'LIMIT' | 'MISSING' | 'CORRUPT' | 'IO'
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  if (isMounted(path)) return mountedAt(path) === undefined ? openHuggingFace(path) : openFile(path)
  const facts = await stat(path).catch((error: unknown) => {
    throw ioError(`open the checkpoint ${path}`, error)
  })
  return facts.isDirectory() ? openHuggingFace(path) : openFile(path)
}

function openFile(path: string): Promise<Checkpoint> {
  return withSource(path, async (handle, file) => {
    const head = await headOf(handle, file)
    if (isJson(head)) {
      // Loaded only where it is needed, like the other readers.
      const { openTfjs } = await import('./tfjs/read.js')
      return openTfjs(path)
    }
    if (path.endsWith('.onnx') || isOnnx(head)) {
      const { openOnnx } = await import('./onnx/read.js')
      return openOnnx(path)
    }
    if (head.toString('latin1', 0, MAGIC.length) !== MAGIC)
      return { folder: path, tensors: await tensorsOf(handle, file, head), copies: new Map() }
    const { openGguf } = await import('./gguf/open.js')
    return openGguf(handle, file)
  })
}
