import { findAddon } from '../../src/engines/native/find-addon.js'

const native = !(findAddon() instanceof Error)
if (!native) console.warn('skipped: tests of the native engine, since it is not built on this machine')

/** The engines that this machine has; every test of running models holds for each. */
export const ENGINES: readonly ('onnx' | 'native')[] = native ? ['onnx', 'native'] : ['onnx']
