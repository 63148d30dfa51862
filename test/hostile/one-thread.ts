// Loaded with `node --import`: what Piscina would do in other threads is done in this one, so that a thousand runs take
// seconds. Tasks and answers are copied as between threads.
import { createRequire } from 'node:module'

class OneThread {
  private readonly tasks: Promise<Record<string, (input: unknown) => unknown>>

  constructor({ filename }: { filename: string }) {
    this.tasks = import(filename)
  }

  async run(input: unknown, { name }: { name: string }): Promise<unknown> {
    return structuredClone(await (await this.tasks)[name]!(structuredClone(input)))
  }

  /** Nobody asks anything: all files are on this disk. */
  on(): void {}

  async destroy(): Promise<void> {}
}

Object.defineProperty(createRequire(import.meta.url)('piscina'), 'Piscina', { value: OneThread })
