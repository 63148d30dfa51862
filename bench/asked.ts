import { type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

/** A process that answers each line with a line. */
export interface Asked extends AsyncDisposable {
  /** @throws Error if the process ends instead */
  ask(question: string): Promise<string>
}

/** Starts a process that is asked questions; what it says on stderr is shown. */
export function startAsked(command: string, args: readonly string[], options: SpawnOptions = {}): Asked {
  const child = spawn(command, args, { ...options, stdio: ['pipe', 'pipe', 'inherit'] })
  const waiting: { resolve: (line: string) => void; reject: (error: Error) => void }[] = []
  let ended: Error | undefined
  const end = (why: string) => {
    ended ??= new Error(`${command} ${why}`)
    for (const { reject } of waiting.splice(0)) reject(ended)
  }
  createInterface(child.stdout!).on('line', (line) => waiting.shift()?.resolve(line))
  child.on('error', ({ message }) => end(message))
  child.on('close', (code, signal) => end(signal ? `was ended by ${signal}` : `ended with ${code}`))
  // a process that is gone says so by closing
  child.stdin!.on('error', () => undefined)
  return {
    ask: (question) =>
      new Promise((resolve, reject) => {
        if (ended) return reject(ended)
        waiting.push({ resolve, reject })
        child.stdin!.write(`${question}\n`)
      }),
    async [Symbol.asyncDispose]() {
      child.stdin!.end()
      if (!ended) await once(child, 'close')
    },
  }
}
