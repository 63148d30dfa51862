import { findAddon } from '../../src/engines/native/find-addon.js'

const native = !(findAddon() instanceof Error)
if (!native) console.warn('skipped: tests of the native engine, since it is not built on this machine')

/** One engine for all of a model, or both, where a model is disguised so that the native one doesn't know all of it. */
export type TestEngine = 'onnx' | 'native' | 'mixed'

/** The engines that this machine has; every test of running models holds for each. */
export const ENGINES: readonly TestEngine[] = native ? ['onnx', 'native', 'mixed'] : ['onnx']

/** What a caller asks for to get an engine. */
export function choiceOf(engine: TestEngine): 'onnx' | 'native' | 'auto' {
  return engine === 'mixed' ? 'auto' : engine
}
