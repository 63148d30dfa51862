import { AssetError } from '../../core/errors.js'
import type { GraphIndex } from '../../graph/cut.js'
import { liveGraph } from '../../graph/live.js'
import { findAddon } from './addon.js'
import { type Division, divideGraph } from './divide.js'
import { lowerGraph } from './lower.js'

/** What may compute a model: 'auto' is native wherever it can be, ONNX Runtime for the rest; the others are one engine for all of it. */
export type EngineChoice = 'auto' | 'native' | 'onnx'

/** Which engine computes what of a graph. @throws AssetError 'MISSING' or 'UNSUPPORTED' where 'native' was asked for and can't be */
export function divide(index: GraphIndex, engine: EngineChoice): Division {
  const onnx = (why: string): Division => ({ segments: [{ engine: 'onnx', graph: index, why }] })
  if (engine === 'onnx') return onnx('ONNX Runtime was asked for')
  const addon = findAddon()
  if (addon instanceof Error) {
    if (engine === 'auto') return onnx('the native engine is not built')
    throw new AssetError('MISSING', 'Cannot run natively: the native engine is not built; "masset doctor" says how to add it', {
      cause: addon,
    })
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
