import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { InferenceSession, Tensor } from 'onnxruntime-common'
import type { Pooling } from '../../models/pooling.js'
import { buildGraph } from '../../models/registry.js'
import type { Dtype } from '../../src/core/dtypes.js'
import { serializeGraph } from '../../src/graph/parse.js'
import type { StateDict, WeightRef } from '../../src/graph/weights.js'

/** onnxruntime-node, or undefined (with one line that says so) where it is not installed. */
export async function stockRuntime(): Promise<typeof import('onnxruntime-common') | undefined> {
  try {
    // Not a static import: the package is optional.
    const name = 'onnxruntime-node'
    return (await import(name)) as typeof import('onnxruntime-common')
  } catch {
    console.warn('skipped: onnxruntime-node is not installed')
    return undefined
  }
}

export function readJson(folder: string, file: string) {
  return JSON.parse(readFileSync(join(folder, file), 'utf8'))
}

interface Header {
  [name: string]: { dtype: Dtype; shape: number[]; data_offsets: [number, number] }
}

/** The state dict of a folder's safetensors shards; a tensor's location is its shard. Trusting: these are our own files. */
export function stateDictOf(folder: string): StateDict {
  const weights = new Map<string, WeightRef>()
  for (const location of readdirSync(folder).filter((file) => file.endsWith('.safetensors'))) {
    const bytes = readFileSync(join(folder, location))
    const start = 8 + Number(bytes.readBigUInt64LE(0))
    const header = JSON.parse(bytes.toString('utf8', 8, start)) as Header
    for (const [name, { dtype, shape, data_offsets: at }] of Object.entries(header)) {
      if (name !== '__metadata__') weights.set(name, { dtype, shape, location, offset: start + at[0], length: at[1] - at[0] })
    }
  }
  return weights
}

export interface Opened {
  readonly session: InferenceSession
  readonly layers: number
  close(): Promise<void>
}

/** A folder with a graph for these weights and copies of the shards, opened by stock ONNX Runtime as anybody would. */
export async function openStock(
  runtime: typeof import('onnxruntime-common'),
  folder: string,
  change: { config?: Record<string, unknown>; weights?: StateDict; pooling?: Pooling } = {},
): Promise<Opened> {
  const config = { ...readJson(folder, 'config.json'), ...change.config }
  const model = buildGraph(config, change.weights ?? stateDictOf(folder), change.pooling ? { pooling: change.pooling } : {})
  const place = mkdtempSync(join(tmpdir(), 'module-assets-test-'))
  for (const file of readdirSync(folder)) if (file.endsWith('.safetensors')) cpSync(join(folder, file), join(place, file))
  writeFileSync(join(place, 'model.onnx'), serializeGraph(model))
  const session = await runtime.InferenceSession.create(join(place, 'model.onnx'))
  const layers = session.outputNames.filter((name) => name.endsWith('.key')).length
  const close = async () => {
    await session.release()
    rmSync(place, { recursive: true })
  }
  return { session, layers, close }
}

export type Feeds = Record<string, Tensor>
