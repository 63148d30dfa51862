import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startAsked } from './asked.js'
import type { Measured } from './llama-1b.js'
import type { Decoded } from './llama-cpp-child.js'
import { note } from './measure.js'
import type { Dtype } from './options.js'

const TYPES: Record<Dtype, string> = { bf16: 'bf16', q8: 'q8_0', q4: 'q4_0' }
const child = fileURLToPath(new URL('./llama-cpp-child.js', import.meta.url))
const maker = fileURLToPath(new URL('../../bench/peers/make-gguf.py', import.meta.url))

/** llama.cpp with the same weights. */
export interface LlamaCpp extends AsyncDisposable {
  /** so many tokens more */
  decode(tokens: number): Promise<Decoded>
  /** seconds of a prompt of so many tokens, up to the first new one */
  prefill(tokens: number): Promise<number>
}

/** How llama.cpp is there for a model: its package and the file of its weights. */
export interface Installed {
  readonly version: string
  readonly gguf: string
  /** Loads the model on two threads. `prefix` is a command that runs it. @throws Error where it ends instead */
  start(how: { readonly mmap: boolean; readonly prefix?: readonly string[] }): Promise<LlamaCpp>
}

/**
 * Finds node-llama-cpp in the folder that NODE_LLAMA_CPP names, and makes the GGUF file of the model's weights with the Python that
 * PEER_PYTHON names (numpy, gguf). Says in one line what is missing. `streaming` takes NODE_LLAMA_CPP_PLAIN where it is set: a
 * copy without the kernels that copy the weights of Q4_0 into memory. `name` is the checkpoint's folder in `folder`; tokens are drawn
 * at `temperature`.
 */
export function findLlamaCpp(
  { dtype, folder }: Pick<Measured, 'dtype' | 'folder'>,
  { streaming = false, name = 'llama-1b', temperature = 0 } = {},
): Installed | undefined {
  const { NODE_LLAMA_CPP, NODE_LLAMA_CPP_PLAIN, PEER_PYTHON = 'python3' } = process.env
  const home = (streaming && dtype === 'q4' && NODE_LLAMA_CPP_PLAIN) || NODE_LLAMA_CPP
  if (!home || !existsSync(join(home, 'package.json'))) {
    note('llama.cpp is left out: NODE_LLAMA_CPP names no folder of node-llama-cpp')
    return undefined
  }
  const gguf = join(folder, `${name}-${TYPES[dtype]}.gguf`)
  try {
    if (!existsSync(gguf)) execFileSync(PEER_PYTHON, [maker, join(folder, name), gguf, '--type', TYPES[dtype]], { stdio: 'inherit' })
  } catch (error) {
    note(`llama.cpp is left out: its file can't be made: ${(error as Error).message.split('\n')[0]}`)
    return undefined
  }
  const { version } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8')) as { version: string }
  return {
    version: `node-llama-cpp ${version}`,
    gguf,
    async start({ mmap, prefix = [] }) {
      const [command, ...args] = [...prefix, process.execPath, child, home, gguf, String(mmap), String(temperature)]
      const asked = startAsked(command!, args)
      await asked.ask('load')
      return {
        decode: async (tokens) => JSON.parse(await asked.ask(`decode ${tokens}`)) as Decoded,
        prefill: async (tokens) => Number(await asked.ask(`prefill ${tokens}`)),
        [Symbol.asyncDispose]: () => asked[Symbol.asyncDispose](),
      }
    },
  }
}

/** Runs a call with llama.cpp, or without it where it isn't there. */
export async function withLlamaCpp(
  measured: Measured,
  use: (peer: LlamaCpp | undefined, installed: Installed | undefined) => Promise<void>,
): Promise<void> {
  const installed = findLlamaCpp(measured)
  if (!installed) return use(undefined, undefined)
  // Not mapped, its weights are copied into the order that its kernels like best.
  await using peer = await installed.start({ mmap: false })
  await use(peer, installed)
}
