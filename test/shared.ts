import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const MODELS = fileURLToPath(new URL('../../../shared/models', import.meta.url))

/** The folder of a real checkpoint beside the project, where there is one; tests that need it skip without. */
export function sharedModel(name: string): string | undefined {
  const folder = `${MODELS}/${name}`
  if (existsSync(folder)) return folder
  console.warn(`skipped: the checkpoint ../shared/models/${name} is not here`)
  return undefined
}
