import { stat } from 'node:fs/promises'
import { ioError } from '../core/errors.js'
import type { Checkpoint } from './checkpoint.js'
import { openHuggingFace } from './hf.js'
import { beginsLikeJson, readTensors } from './read-tensors.js'

/**
 * Opens somebody's published weights: a folder as Hugging Face has them, the model.json of a TensorFlow.js model, or a single
 * file, which comes alone, without what lies beside it. Reads headers only.
 * @throws AssetError 'NOT_FOUND' | 'BAD_INPUT' | 'UNSUPPORTED' | 'LIMIT' | 'MISSING' | 'CORRUPT' | 'IO'
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const facts = await stat(path).catch((error: unknown) => {
    throw ioError(`open the checkpoint ${path}`, error)
  })
  if (facts.isDirectory()) return openHuggingFace(path)
  if (await beginsLikeJson(path)) {
    // Loaded only where it is needed, like the other readers.
    const { openTfjs } = await import('./tfjs/read.js')
    return openTfjs(path)
  }
  return { folder: path, tensors: await readTensors(path), copies: new Map() }
}
