import type { Tensor } from 'onnxruntime-common'
import type { CutGraph } from '../graph/cut.js'

/** A segment made ready: takes its inputs in the order of the cut, gives its outputs in that order. */
export interface PreparedSegment {
  run(inputs: readonly Tensor[]): Promise<Tensor[]>
  /** frees what only this segment needed */
  release(): Promise<void>
}

/** Something that computes segments. */
export interface Engine {
  readonly name: string
  /** @throws AssetError 'ENGINE' where it can't run this segment */
  prepare(segment: CutGraph): Promise<PreparedSegment>
}

/** For which positions a pass computes the output head: all, the last of each sequence, or none. */
export type Logits = 'all' | 'last' | 'none'
