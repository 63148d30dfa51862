import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

// Compiled, this file is dist/test/shared.js: the repository is two folders up, the test data beside it.
const models = new URL('../../../shared/models/', import.meta.url)
if (!existsSync(models)) console.warn(`skipped: tests against checkpoints, since ${fileURLToPath(models)} is not on this machine`)

/** The folder of a checkpoint to test against, or undefined where it is not on this machine (one line has said so). */
export function sharedModel(name: string): string | undefined {
  const folder = fileURLToPath(new URL(name, models))
  return existsSync(folder) ? folder : undefined
}
