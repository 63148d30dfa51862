import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const native = fileURLToPath(new URL('../../native', import.meta.url))

/** Measures what the machine can do at best, at the moment when it is asked. */
export interface Bounds extends AsyncDisposable {
  /** GB/s that two threads read from memory */
  memory(): Promise<number>
  /** GFLOP/s of float32 multiply-adds */
  fma(): Promise<number>
  /** GB/s of direct reads of a file, the best of a few settings */
  disk(path: string): Promise<number>
}

/** Starts `native/core/examples/bounds.rs`, which needs cargo. */
export async function startBounds(): Promise<Bounds> {
  const args = ['run', '--release', '--quiet', '--locked', '-p', 'masset-core', '--example', 'bounds']
  const child = spawn('cargo', args, { cwd: native, stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface(child.stdout)
  const ask = async (question: string): Promise<number> => {
    const answer = once(lines, 'line')
    child.stdin.write(`${question}\n`)
    return Number((await answer)[0])
  }
  await ask('fma')
  return {
    memory: () => ask('memory'),
    fma: () => ask('fma'),
    disk: (path) => ask(`disk ${path}`),
    async [Symbol.asyncDispose]() {
      child.stdin.end()
      await once(child, 'exit')
    },
  }
}
