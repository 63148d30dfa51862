import { stat } from 'node:fs/promises'
import { ioError } from '../core/errors.js'
import type { Checkpoint } from './checkpoint.js'
import { openHuggingFace } from './hf.js'
import { isMounted, mountedAt } from './mounts.js'
import { readTensors } from './read-tensors.js'

/**
 * Opens somebody's published weights: a folder as Hugging Face has them, or a single file, which comes alone, without
 * what lies beside it. Reads headers only.
 * @throws AssetError 'NOT_FOUND' | 'BAD_INPUT' | 'UNSUPPORTED' | 'LIMIT' | 'MISSING' | 'CORRUPT' | 'IO'
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  if (isMounted(path)) return mountedAt(path) === undefined ? openHuggingFace(path) : openFile(path)
  const facts = await stat(path).catch((error: unknown) => {
    throw ioError(`open the checkpoint ${path}`, error)
  })
  return facts.isDirectory() ? openHuggingFace(path) : openFile(path)
}

async function openFile(path: string): Promise<Checkpoint> {
  return { folder: path, tensors: await readTensors(path), copies: new Map() }
}
