import { freemem } from 'node:os'
import { AssetError } from '../core/errors.js'
import { parseJsonObject } from '../core/json.js'
import { LIMITS } from '../core/limits.js'
import { nativeProgram } from '../engines/native/choose.js'
import { OnnxEngine } from '../engines/onnx.js'
import { indexGraph } from '../graph/cut.js'
import { parseGraph } from '../graph/parse.js'
import { Residency } from '../residency/residency.js'
import type { OpenAsset } from '../store/open-asset.js'
import type { LoadedModel } from './loaded-model.js'
import { NativeModel } from './native-model.js'
import { OnnxModel } from './onnx-model.js'
import { PassQueue } from './pass-queue.js'
import type { LoadSettings } from './settings.js'

/** Loads models; those in ONNX Runtime share one engine, its thread, and the weights in memory. */
export class Loader {
  private readonly onnx = { engine: new OnnxEngine(), residency: new Residency(), queue: new PassQueue() }

  /** @throws AssetError 'UNSUPPORTED' for an asset without a graph or an engine that can't run it, 'BUDGET_TOO_SMALL', 'BAD_INPUT', 'MISSING', 'ENGINE' */
  async load(asset: OpenAsset, settings: LoadSettings): Promise<LoadedModel> {
    const { main } = asset.manifest
    if (!main) throw await noGraph(asset)
    const index = indexGraph(parseGraph(await asset.readFile(main, LIMITS.graph)))
    const { memory } = settings
    const budgetOf = (total: number) => (memory === 'auto' ? Math.max(1, Math.min(Math.floor(freeMemory() * 0.6), total)) : memory)
    const program = nativeProgram(index, settings.engine)
    if (program) return NativeModel.load(asset, index, program, budgetOf, settings)
    return OnnxModel.load(asset, index, this.onnx, budgetOf, settings)
  }
}

/** Bytes that this process may still take: those of the machine, or of the container that it is in. */
function freeMemory(): number {
  return Math.min(freemem(), process.availableMemory?.() ?? Number.POSITIVE_INFINITY)
}

async function noGraph(asset: OpenAsset): Promise<AssetError> {
  const { config } = asset.manifest
  const type = config ? parseJsonObject(await asset.readFile(config), config).model_type : undefined
  return new AssetError(
    'UNSUPPORTED',
    `Cannot run ${asset.where}: it has no graph, since no family for model_type ${JSON.stringify(type)?.slice(0, 80)} is known ("masset doctor" lists the families); an ONNX export can be given instead`,
  )
}
