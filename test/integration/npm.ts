import { execFile } from 'node:child_process'
import { tmpdir } from 'node:os'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Runs npm in a folder as on a machine without cargo: the native engine is not built. */
export function npm(cwd: string, ...args: string[]) {
  // The outer npm's own settings must not reach this one.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^npm_(config_(local_prefix|prefix|onnxruntime)|package|lifecycle)/i.test(name)),
  )
  env.MODULE_ASSETS_NATIVE = 'skip'
  return run('npm', [...args, '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'], {
    cwd,
    env,
    timeout: 240_000,
    shell: process.platform === 'win32',
  })
}

/** True where a package can be asked for. */
export async function reachesRegistry(): Promise<boolean> {
  return npm(tmpdir(), 'view', 'fastify', 'version').then(
    () => true,
    () => false,
  )
}
