import { freemem } from 'node:os'
import { graphOf } from '../asset/manifest.js'
import { programOf, type ReadText, readConfig } from '../asset/model-graph.js'
import { AssetError } from '../core/errors.js'
import { LIMITS } from '../core/limits.js'
import { divide } from '../engines/native/choose.js'
import { OnnxEngine } from '../engines/onnx.js'
import { type GraphIndex, indexGraph } from '../graph/cut.js'
import { halvesOf } from '../graph/halves.js'
import { parseGraph } from '../graph/parse.js'
import { arrivalOrder } from '../plan/arrival-order.js'
import { besideTokenizer } from '../plan/too-small.js'
import { Residency } from '../residency/residency.js'
import { stateDictOf } from '../store/fragment-headers.js'
import type { OpenAsset } from '../store/open-asset.js'
import { EncoderDecoderModel } from './encoder-decoder.js'
import type { LoadedModel } from './loaded-model.js'
import { NativeModel } from './native-model.js'
import { PassQueue } from './pass-queue.js'
import type { LoadSettings } from './settings.js'
import { StepModel } from './step-model.js'
import { whileArriving } from './while-arriving.js'

/** Loads models; those in ONNX Runtime share one engine, its thread, and the weights in memory. */
export class Loader {
  private readonly onnx = { engine: new OnnxEngine(), residency: new Residency(), queue: new PassQueue() }

  /** @throws AssetError 'UNSUPPORTED' for an asset without a graph or an engine that can't run it, 'BUDGET_TOO_SMALL', 'BAD_INPUT', 'MISSING', 'ENGINE' */
  async load(asset: OpenAsset, settings: LoadSettings): Promise<LoadedModel> {
    const main = graphOf(asset.manifest, asset.where)
    if (!main) throw await noGraph(asset)
    const index = indexGraph(parseGraph(await asset.readFile(main, LIMITS.graph)))
    const { memory, map = false } = settings
    // Nothing can be mapped before it is there.
    if (map) await asset.arriving?.complete(settings)
    asset.arriving?.follow(arrivalOrder(index))
    // What is mapped has no budget: all of it is planned as if it stayed, and the system decides what does.
    const tokenizer = map ? 0 : (settings.tokenizerBytes ?? 0)
    const budgetOf = (total: number) => (map ? total : memory === 'auto' ? automatic(total + tokenizer) : memory)
    const load = this.engineFor(asset, index, settings)
    return whileArriving(asset.arriving, settings.signal, () => besideTokenizer(tokenizer, budgetOf, load), true)
  }

  /** What computes a graph, to be loaded within a budget. @throws AssetError 'UNSUPPORTED' | 'MISSING' */
  private engineFor(asset: OpenAsset, index: GraphIndex, settings: LoadSettings): (budgetOf: BudgetOf) => Promise<LoadedModel> {
    const halves = halvesOf(index)
    const division = halves ? undefined : divide(index, settings.engine)
    const native = division?.segments.length === 1 ? division.program : undefined
    if (settings.map && !native)
      throw new AssetError(
        'UNSUPPORTED',
        `Cannot map the weights of ${asset.where}: only the native engine can, and it doesn't run all of this model as one; load it without map`,
      )
    if (halves) return (budgetOf) => EncoderDecoderModel.load(asset, index, halves, this.onnx, budgetOf, settings)
    if (native) return (budgetOf) => NativeModel.load(asset, index, native, budgetOf, settings)
    return (budgetOf) => StepModel.load(asset, index, division!, this.onnx, budgetOf, settings)
  }
}

type BudgetOf = (total: number) => number

/** Three fifths of the free memory, at most what is needed. */
function automatic(needed: number): number {
  return Math.max(1, Math.min(Math.floor(freeMemory() * 0.6), needed))
}

/** Bytes that this process may still take: those of the machine, or of the container that it is in. */
function freeMemory(): number {
  return Math.min(freemem(), process.availableMemory?.() ?? Number.POSITIVE_INFINITY)
}

async function noGraph(asset: OpenAsset): Promise<AssetError> {
  if (asset.arriving) return new AssetError('UNSUPPORTED', `Cannot run ${asset.where}: it has no graph`)
  const read: ReadText = async (path) =>
    asset.manifest.files.has(path) ? { bytes: await asset.readFile(path), what: `${path} of ${asset.where}` } : undefined
  const program = await programOf(await readConfig(read), read, await stateDictOf(asset))
  const why = program.graph ? 'it was made before its family was known: fragment its checkpoint again' : program.why
  return new AssetError('UNSUPPORTED', `Cannot run ${asset.where}: it has no graph, since ${why}; an ONNX export can be given instead`)
}
