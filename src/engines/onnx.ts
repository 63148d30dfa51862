import { createHash } from 'node:crypto'
import type { InferenceSession, Tensor } from 'onnxruntime-common'
import { AssetError } from '../core/errors.js'
import type { CutGraph } from '../graph/cut.js'
import type { Engine, PreparedSegment } from './engine.js'

type Runtime = typeof import('onnxruntime-node')

/** The command that adds ONNX Runtime, in the version that this engine was tested with. */
export const INSTALL_RUNTIME = 'npm install onnxruntime-node@1.30.0 --onnxruntime-node-install=skip'

// Its errors come as exceptions; its own lines would stand beside ours on stderr.
const FATAL = 4

/** Loads ONNX Runtime, which is optional. @throws AssetError 'MISSING' with the command that adds it */
export async function loadRuntime(): Promise<Runtime> {
  try {
    const runtime = await import('onnxruntime-node')
    runtime.env.logLevel = 'fatal'
    return runtime
  } catch (cause) {
    throw new AssetError('MISSING', `Cannot run models: onnxruntime-node is not installed; add it with: ${INSTALL_RUNTIME}`, {
      cause,
    })
  }
}

/** The runtime's own message, which may hold its source paths and names of any length, as a part of one line. */
function reason(cause: unknown): string {
  const text = (cause instanceof Error ? cause.message : String(cause)).replaceAll(/\s+/g, ' ').trim()
  return text.length > 300 ? `${text.slice(0, 300)}...` : text
}

/** A session, and how many prepared segments use it. */
interface Shared {
  readonly session: Promise<InferenceSession>
  users: number
}

/**
 * Runs segments in ONNX Runtime on the CPU. Weights come in as inputs, so a session holds none; segments of equal bytes
 * (the same module of different layers) share one session.
 */
export class OnnxEngine implements Engine {
  readonly name = 'onnx'
  private readonly shared = new Map<string, Shared>()

  async prepare(segment: CutGraph): Promise<PreparedSegment> {
    const key = createHash('sha256').update(segment.bytes).digest('hex')
    const shared = this.shared.get(key) ?? { session: this.create(segment), users: 0 }
    this.shared.set(key, shared)
    shared.users += 1
    const release = () => this.release(key, shared)
    try {
      const session = await shared.session
      return { run: (inputs) => compute(session, inputs), release }
    } catch (error) {
      await release()
      throw error
    }
  }

  /** The last one who uses a session frees it; one that failed may succeed once what was missing is there. */
  private async release(key: string, shared: Shared): Promise<void> {
    shared.users -= 1
    if (shared.users > 0) return
    this.shared.delete(key)
    const session = await shared.session.catch(() => undefined)
    await session?.release()
  }

  private async create(segment: CutGraph): Promise<InferenceSession> {
    const { InferenceSession } = await loadRuntime()
    try {
      // 'all' moves the transposition of a 16-bit weight before its cast, which takes twice as long as 'extended'.
      // An arena would keep the float32 copy of each session's largest 16-bit weight for good.
      return await InferenceSession.create(segment.bytes, {
        executionProviders: ['cpu'],
        graphOptimizationLevel: 'extended',
        enableCpuMemArena: false,
        enableMemPattern: false,
        logSeverityLevel: FATAL,
        // Threads that spin for work keep the event loop, and those that read, from the cores.
        // Computing quantised weights in whole numbers is wrong where they are inputs: off by 0.26 where it should be 0.0000002.
        extra: { session: { intra_op: { allow_spinning: '0' }, disable_quant_qdq: '1' } },
      })
    } catch (cause) {
      throw new AssetError('ENGINE', `Cannot prepare a segment for ONNX Runtime: ${reason(cause)}`, { cause })
    }
  }
}

async function compute(session: InferenceSession, inputs: readonly Tensor[]): Promise<Tensor[]> {
  const feeds = Object.fromEntries(session.inputNames.map((name, at) => [name, inputs[at]!]))
  try {
    const results = await session.run(feeds)
    return session.outputNames.map((name) => results[name] as Tensor)
  } catch (cause) {
    throw new AssetError('ENGINE', `Cannot compute a segment: ${reason(cause)}`, { cause })
  }
}
