/**
 * The public face of module-assets: what is exported here is the contract, everything else may change. A call imports what
 * it needs when it is made, so that a process which only runs models has nothing else in memory.
 */

// Early, since it listens for signals: where it finds no other listener it ends the process, and a caller's that was added
// before it by `once` is gone when its turn comes.
import 'proper-lockfile'

export { Tensor } from 'onnxruntime-common'
export type { WeightDtype } from '../asset/convert/plan.js'
export type { ModuleInfo } from '../asset/module-list.js'
export { AssetError, type ErrorCode } from '../core/errors.js'
export type { LongCall, Progress } from '../core/progress.js'
export type { Generated, GenerateOptions, Prompt } from '../executor/generate.js'
export type { PlainTensor } from '../executor/plain-tensor.js'
export type { GraphValue, ModelStats } from '../executor/protocol.js'
export type { Collected, GcOptions } from '../store/gc.js'
export type { Store, StoredAsset } from '../store/store.js'
export type { Verification } from '../store/verify.js'
export type { Message } from '../text/tokenizer.js'
export type { BlockCount } from '../transport/blocks.js'
export type { Fetched } from '../transport/fetch-folder.js'
export type { Pulled } from '../transport/pull.js'
export type { Pushed } from '../transport/push.js'
export { exportCar, importCar } from './car.js'
export { type DecodeOptions, decode } from './decode.js'
export { type EncodeIntoOptions, type Encoding, encode, encodeInto } from './encode.js'
export { type FileCount, type FragmentOptions, type FragmentResult, fragment, seal } from './fragment.js'
export { type Comparison, compare, type Inspection, inspect, verify } from './inspect.js'
export { addLocations, removeLocations } from './locations.js'
export { type LoadedModule, type LoadOptions, loadModel, Model } from './model.js'
export { plan } from './plan.js'
export type { MemoryPlan, PlannedSegment, PlanOptions } from './plan-asset.js'
export { type FromOptions, pull, repair } from './pull.js'
export { type PushOptions, push } from './push.js'
export { getFolder, openStore, putFolder } from './store.js'
export type { Trace } from './trace.js'
