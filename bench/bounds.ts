import { fileURLToPath } from 'node:url'
import { startAsked } from './asked.js'

const native = fileURLToPath(new URL('../../native', import.meta.url))

/** Measures what the machine can do at best, at the moment when it is asked. */
export interface Bounds extends AsyncDisposable {
  /** GB/s that two threads read from memory */
  memory(): Promise<number>
  /** GFLOP/s of float32 multiply-adds */
  fma(): Promise<number>
  /** GB/s of direct reads of these files into memory where each cache line is then looked at, the best of a few settings */
  disk(paths: readonly string[]): Promise<number>
  /** the same, with more buffers than caches have room for */
  memoryDisk(paths: readonly string[]): Promise<number>
  /** as `disk`, of bytes that nobody looks at */
  transfer(paths: readonly string[]): Promise<number>
}

/** Starts `native/core/examples/bounds.rs`, which needs cargo. */
export async function startBounds(): Promise<Bounds> {
  const args = ['run', '--release', '--quiet', '--locked', '-p', 'masset-core', '--example', 'bounds']
  const child = startAsked('cargo', args, { cwd: native })
  const ask = async (question: string) => Number(await child.ask(question))
  await ask('fma')
  return {
    memory: () => ask('memory'),
    fma: () => ask('fma'),
    disk: (paths) => ask(`disk ${paths.join('\t')}`),
    memoryDisk: (paths) => ask(`memory-disk ${paths.join('\t')}`),
    transfer: (paths) => ask(`transfer ${paths.join('\t')}`),
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  }
}
