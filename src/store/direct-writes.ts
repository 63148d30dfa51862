import { constants, type FileHandle, open } from 'node:fs/promises'
import { alignedBytes, DIRECT } from '../core/aligned.js'
import { systemCode } from '../core/errors.js'
import { LEAF, PAGE } from '../core/limits.js'

// As many as there are threads that write.
const STAGES = 4

/**
 * Writes to a file past the page cache, where the system can: what is stored is not read again soon, and having the system write it
 * out later costs far more of the processor.
 */
export class DirectWrites {
  private constructor(
    private readonly handle: FileHandle,
    private readonly stages: Stages,
  ) {}

  /** Undefined where files of that folder can't be written so. */
  static async open(path: string): Promise<DirectWrites | undefined> {
    const made = stages()
    if (DIRECT === undefined || !made) return undefined
    const handle = await open(path, constants.O_WRONLY | DIRECT).catch(() => undefined)
    return handle && new DirectWrites(handle, made)
  }

  /** Writes at most a leaf; false where it must be written as usual: for parts of pages, or where the disk wants it otherwise. */
  async write(bytes: Uint8Array, position: number): Promise<boolean> {
    const { byteLength } = bytes
    if (byteLength % PAGE !== 0 || position % PAGE !== 0 || byteLength > LEAF) return false
    const stage = await this.stages.take()
    try {
      stage.set(bytes)
      for (let done = 0; done < byteLength; )
        done += (await this.handle.write(stage, done, byteLength - done, position + done)).bytesWritten
      return true
    } catch (error) {
      if (systemCode(error) === 'EINVAL') return false
      throw error
    } finally {
      this.stages.giveBack(stage)
    }
  }

  close(): Promise<void> {
    return this.handle.close()
  }
}

/** Memory for leaves that are being written. */
class Stages {
  private readonly free: Uint8Array[]
  private readonly waiting: ((stage: Uint8Array) => void)[] = []

  constructor(memory: Uint8Array) {
    this.free = Array.from({ length: STAGES }, (_, at) => memory.subarray(at * LEAF, (at + 1) * LEAF))
  }

  async take(): Promise<Uint8Array> {
    return this.free.pop() ?? new Promise((resolve) => this.waiting.push(resolve))
  }

  giveBack(stage: Uint8Array): void {
    const next = this.waiting.shift()
    if (next) next(stage)
    else this.free.push(stage)
  }
}

let made: { readonly stages: Stages | undefined } | undefined

function stages(): Stages | undefined {
  if (!made) {
    const memory = alignedBytes(STAGES * LEAF)
    made = { stages: memory && new Stages(memory) }
  }
  return made.stages
}
