import { AssetError } from '../../core/errors.js'
import type { GraphIndex } from '../../graph/cut.js'
import { liveGraph } from '../../graph/live.js'
import type { EngineChoice } from '../choice.js'
import { type Division, divideGraph } from './divide.js'
import { findAddon, warnIfBroken } from './find-addon.js'
import { lowerGraph } from './lower.js'

/** Which engine computes what of a graph. @throws AssetError 'MISSING' or 'UNSUPPORTED' where 'native' was asked for and can't be */
export function divide(index: GraphIndex, engine: EngineChoice): Division {
  const onnx = (why: string): Division => ({ segments: [{ engine: 'onnx', graph: index, why }] })
  if (engine === 'onnx') return onnx('ONNX Runtime was asked for')
  const addon = findAddon()
  if (addon instanceof Error) {
    if (engine === 'auto') {
      warnIfBroken(addon)
      return onnx(addon.broken ? "the native engine can't be loaded" : 'the native engine is not built')
    }
    const why = addon.broken ? `can't be loaded (${addon.message})` : 'is not built'
    throw new AssetError('MISSING', `Cannot run natively: the native engine ${why}; "masset doctor" says how to add it`, { cause: addon })
  }
  const live = liveGraph(index)
  try {
    return { segments: [{ engine: 'native', graph: live }], program: lowerGraph(live) }
  } catch (error) {
    if (engine === 'native' || !isRefusal(error)) throw error
  }
  try {
    return divideGraph(live)
  } catch (error) {
    if (isRefusal(error)) return onnx(error.message)
    throw error
  }
}

/** True for an error that says that the native engine can't, not that the graph is wrong. */
function isRefusal(error: unknown): error is AssetError {
  return error instanceof AssetError && (error.code === 'UNSUPPORTED' || error.code === 'LIMIT')
}
