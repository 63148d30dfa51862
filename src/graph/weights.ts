import type { Dtype } from '../core/dtypes.js'

/** Where the bytes of one tensor lie: `length` bytes from `offset` of the file `location`, a path relative to the graph's folder. */
export interface WeightRef {
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly location: string
  readonly offset: number
  readonly length: number
}

/** Full tensor name -> where its bytes are. Nothing is loaded. */
export type StateDict = ReadonlyMap<string, WeightRef>
