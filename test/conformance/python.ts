import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const python = process.env.MASSET_PYTHON ?? 'python3'

/** True where Python has these modules; else one line says that tests are skipped. */
export function hasModules(...names: readonly string[]): boolean {
  try {
    execFileSync(python, ['-c', `import ${names.join(', ')}`], { stdio: 'ignore' })
    return true
  } catch {
    console.warn(`skipped: ${names.join(' and ')} are not installed for python3 (MASSET_PYTHON names another)`)
    return false
  }
}

/** True where Python has torch and transformers. */
export function hasTransformers(): boolean {
  return hasModules('torch', 'transformers', 'safetensors')
}

/** Runs a script of `scripts/` without asking any network; gives what it prints. */
export function runScript(name: string, args: readonly string[]): string {
  const script = fileURLToPath(new URL(`../../../scripts/${name}`, import.meta.url))
  return execFileSync(python, [script, ...args], {
    encoding: 'utf8',
    env: { ...process.env, HF_HUB_OFFLINE: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}
