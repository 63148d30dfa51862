/** The element type of a value between native nodes. */
export type Kind = 'f32' | 'i64' | 'bool'

/** What a native node does; the meanings are in native/core/src/program/op.rs, which reads this as JSON. */
export type NativeOp =
  | { readonly op: 'vector'; readonly index: number }
  | { readonly op: 'integers' | 'floats'; readonly dims: readonly number[]; readonly data: readonly number[] }
  | { readonly op: 'rows' | 'linear' | 'conv1d'; readonly weight: number }
  | { readonly op: 'rmsNorm' | 'layerNorm'; readonly epsilon: number }
  | { readonly op: 'rotary'; readonly heads: number }
  | {
      readonly op: 'attention'
      readonly heads: number
      readonly kvHeads: number
      readonly scale: number
      readonly softCap?: number
      readonly cache?: number
    }
  | { readonly op: 'unary' | 'binary'; readonly f: string }
  | { readonly op: 'where' | 'range' | 'slice' | 'expand' }
  | { readonly op: 'softmax' | 'spread' | 'zeros' | 'places' | 'take' | 'addAt' }
  | { readonly op: 'topK'; readonly count: number }
  | { readonly op: 'reduce'; readonly f: 'sum' | 'max' | 'l2'; readonly axes: readonly number[]; readonly keep: boolean }
  | { readonly op: 'cast'; readonly to: Kind }
  | { readonly op: 'shape'; readonly start: number; readonly end?: number }
  | { readonly op: 'reshape'; readonly dims: readonly number[] }
  | { readonly op: 'unsqueeze'; readonly axes: readonly number[] }
  | { readonly op: 'squeeze'; readonly axes?: readonly number[] }
  | { readonly op: 'concat'; readonly axis: number }
  | { readonly op: 'split'; readonly parts: number }
  | { readonly op: 'pick'; readonly axis: number; readonly index: number }

/** One node: what it does, with the values of which numbers, and the numbers of what comes out. */
export interface NativeNode {
  readonly run: NativeOp
  readonly inputs: readonly number[]
  readonly outputs: readonly number[]
}

/** An input or output of a segment by its name in the graph. */
export interface Port {
  readonly name: string
  readonly value: number
  readonly kind: Kind
}

/** Keys and values of one attention, and the names that they have in the graph. */
export interface CacheShape {
  readonly kvHeads: number
  readonly headDim: number
  readonly past: readonly [string, string]
  readonly present: readonly [string, string]
}

/** Nodes that the native engine runs in one call. */
export interface ProgramSegment {
  readonly values: number
  readonly nodes: readonly NativeNode[]
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
  /** the node from which on generation needs only the last position */
  readonly head?: number
}

/** What the native engine runs of a graph, all of it in one segment or some of it in several: no weight is in it, only their names. */
export interface Program {
  /** in the order of a pass */
  readonly segments: readonly ProgramSegment[]
  readonly caches: readonly CacheShape[]
  /** names of small weights, by index */
  readonly vectors: readonly string[]
  /** names of matrices, by index */
  readonly matrices: readonly string[]
  /** names of matrices of whole numbers, and of the scales of their blocks */
  readonly scales: ReadonlyMap<string, string>
  /** names of matrices that not every pass needs */
  readonly cached: ReadonlySet<string>
}
