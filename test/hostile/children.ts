import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** How a child process ended. */
export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** The module of this folder with that name, as compiled. */
export function moduleHere(name: string): string {
  return fileURLToPath(new URL(`./${name}.js`, import.meta.url))
}

/** Runs a module in a process of its own, after the modules of this folder that `preloads` names. */
export function runChild(
  preloads: readonly string[],
  module: string,
  args: readonly string[],
  env: Record<string, string | undefined>,
): Promise<Ended> {
  const flags = preloads.flatMap((name) => ['--import', new URL(`./${name}.js`, import.meta.url).href])
  const child = spawn(process.execPath, [...flags, module, ...args], { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
}

/** The same for a module that prints JSON. */
export async function answerOf<T>(
  preloads: readonly string[],
  name: string,
  args: readonly string[],
  env: Record<string, string>,
): Promise<T> {
  const { code, stdout, stderr } = await runChild(preloads, moduleHere(name), args, env)
  if (code !== 0 || stderr !== '') throw new Error(`${name} ended with ${code}: ${stderr}`)
  return JSON.parse(stdout || 'null') as T
}
