/** The public face of module-assets: what is exported here is the contract, everything else may change. */
export type { ModuleInfo } from '../asset/module-list.js'
export { AssetError, type ErrorCode } from '../core/errors.js'
export type { LongCall, Progress } from '../core/progress.js'
export type { Store, StoredAsset } from '../store/store.js'
export type { Verification } from '../store/verify.js'
export { type FragmentOptions, type FragmentResult, fragment, seal } from './fragment.js'
export { type Comparison, compare, type Inspection, inspect, verify } from './inspect.js'
export { openStore } from './store.js'
