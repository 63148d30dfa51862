// llama.cpp as a process that is asked: `load`, `decode N`, `prefill N`; a line of JSON each. Arguments: the folder of
// node-llama-cpp, a GGUF file, whether to map it, the temperature at which tokens are drawn.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { median } from './measure.js'
import { promptOf } from './prompt.js'

/** Some tokens, one after the other. */
export interface Decoded {
  readonly secondsPerToken: number
  /** bytes that came from the disk */
  readonly readBytesPerToken: number
  readonly ids: readonly number[]
}

/** The part of node-llama-cpp that is used. */
interface Sequence {
  evaluate(tokens: readonly number[], options: object): AsyncGenerator<number>
  clearHistory(): Promise<void>
}
interface Package {
  readonly LlamaLogLevel: { readonly error: string }
  getLlama(options: object): Promise<{
    loadModel(options: object): Promise<{ createContext(options: object): Promise<{ getSequence(): Sequence }> }>
  }>
}

const THREADS = 2
const [home, modelPath, mmap, temperature] = process.argv.slice(2) as [string, string, string, string]
const { getLlama, LlamaLogLevel } = (await import(pathToFileURL(join(home, 'dist/index.js')).href)) as Package
const llama = await getLlama({ gpu: false, build: 'never', maxThreads: THREADS, progressLogs: false, logLevel: LlamaLogLevel.error })
const useMmap = mmap === 'true'
const model = await llama.loadModel({ modelPath, gpuLayers: 0, useMmap, ignoreMemorySafetyChecks: true })
const threads = { ideal: THREADS, min: THREADS }
const context = await model.createContext({ contextSize: 512, batchSize: 128, threads, ignoreMemorySafetyChecks: true })
const sequence = context.getSequence()
const drawn = { temperature: Number(temperature), yieldEogToken: true }
let tokens: AsyncGenerator<number> | undefined

const readBytes = () => Number(/^read_bytes: (\d+)$/m.exec(readFileSync('/proc/self/io', 'latin1'))?.[1])

async function begin(prompt: readonly number[]): Promise<number> {
  await tokens?.return(undefined)
  await sequence.clearHistory()
  tokens = sequence.evaluate(prompt, drawn)
  return (await tokens.next()).value
}

async function decode(count: number): Promise<Decoded> {
  if (!tokens) await begin(promptOf(3))
  const times: number[] = []
  const ids: number[] = []
  const before = readBytes()
  for (let at = 0; at < count; at++) {
    const started = performance.now()
    ids.push((await tokens!.next()).value)
    times.push((performance.now() - started) / 1000)
  }
  return { secondsPerToken: median(times), readBytesPerToken: (readBytes() - before) / count, ids }
}

async function prefill(count: number): Promise<number> {
  const started = performance.now()
  await begin(promptOf(count))
  return (performance.now() - started) / 1000
}

for await (const line of createInterface(process.stdin)) {
  const [what, count] = line.split(' ')
  const answer = what === 'decode' ? await decode(Number(count)) : what === 'prefill' ? await prefill(Number(count)) : true
  console.log(JSON.stringify(answer))
}
process.exit(0)
