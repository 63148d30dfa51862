import { stat } from 'node:fs/promises'
import { ioError } from '../core/errors.js'
import { withFile } from '../core/read.js'
import { type Checkpoint, sourceFile } from './checkpoint.js'
import { openHuggingFace } from './hf.js'
import { headOf, tensorsOf } from './read-tensors.js'

/** What a GGUF file begins with. */
const MAGIC = 'GGUF'

/**
 * Opens somebody's published weights: a folder as Hugging Face has them, or a single file, which comes alone, without
 * what lies beside it; of GGUF, config and tokenizer are in it. Reads headers only.
 * @throws AssetError 'NOT_FOUND' | 'BAD_INPUT' | 'UNSUPPORTED' | 'LIMIT' | 'MISSING' | 'CORRUPT' | 'IO'
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const facts = await stat(path).catch((error: unknown) => {
    throw ioError(`open the checkpoint ${path}`, error)
  })
  if (facts.isDirectory()) return openHuggingFace(path)
  return withFile(path, path, async (handle, facts) => {
    const file = sourceFile(path, facts)
    const head = await headOf(handle, file)
    if (head.toString('latin1', 0, MAGIC.length) !== MAGIC)
      return { folder: path, tensors: await tensorsOf(handle, file, head), copies: new Map() }
    const { openGguf } = await import('./gguf/open.js')
    return openGguf(handle, file)
  })
}
