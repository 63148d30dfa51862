import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

// Compiled, this file is dist/test/shared.js: the repository is two folders up, the test data beside it.
const models = new URL('../../../shared/models/', import.meta.url)
const told = new Set<string>()

/** The folder of a checkpoint to test against, or undefined (with one line that says so) where it is not on this machine. */
export function sharedModel(name: string): string | undefined {
  const folder = fileURLToPath(new URL(name, models))
  if (existsSync(folder)) return folder
  if (!told.has(name)) console.warn(`skipped: ${folder} is not on this machine`)
  told.add(name)
  return undefined
}
