import { AssetError } from '../../core/errors.js'
import type { GraphIndex } from '../../graph/cut.js'
import type { EngineChoice } from '../choice.js'
import { findAddon, warnIfBroken } from './find-addon.js'
import { lowerGraph } from './lower.js'
import type { Program } from './program.js'

/** The graph as a native program; undefined where another engine is to run it. @throws AssetError where 'native' was asked for and can't be */
export function nativeProgram(index: GraphIndex, engine: EngineChoice): Program | undefined {
  if (engine === 'onnx') return undefined
  const addon = findAddon()
  if (addon instanceof Error) {
    if (engine === 'auto') {
      warnIfBroken(addon)
      return undefined
    }
    const why = addon.broken ? `can't be loaded (${addon.message})` : 'is not built'
    throw new AssetError('MISSING', `Cannot run natively: the native engine ${why}; "masset doctor" says how to add it`, { cause: addon })
  }
  try {
    return lowerGraph(index)
  } catch (error) {
    if (engine === 'auto' && error instanceof AssetError && error.code === 'UNSUPPORTED') return undefined
    throw error
  }
}
