import type { Dtype } from '../../core/dtypes.js'
import { AssetError } from '../../core/errors.js'

/** What a pickle says, as recorded: nothing in it has run. */
export type Value = null | boolean | number | bigint | string | Uint8Array | Recorded

/** A recorded value that is no plain number or text. */
export type Recorded = Tuple | List | Dict | Instance | Global | Storage | Tensor | Refused | Opaque

export interface Tuple {
  readonly kind: 'tuple'
  readonly items: readonly Value[]
}

/** Lists and dictionaries are made empty by the million in hostile files, so what they hold comes later. */
export interface List {
  readonly kind: 'list'
  items: Value[] | undefined
}

export interface Dict {
  readonly kind: 'dict'
  entries: Map<Value, Value> | undefined
}

/** An object of a class of a TorchScript archive, and its attributes. */
export interface Instance {
  readonly kind: 'instance'
  readonly name: string
  state: Value | undefined
}

/** What a pickle may name, and what comes of it. */
export interface Global {
  readonly kind: 'global'
  readonly name: string
  /** what calling it with these arguments is recorded as; nothing is called */
  readonly reduce?: (args: readonly Value[], what: string) => Value
  /** its objects are recorded with their attributes */
  readonly isClass?: boolean
  /** it is a type of storage, with the bytes of an element; `refused` says why its tensors can't be stored */
  readonly storage?: { readonly size: number; readonly dtype?: Dtype; readonly refused?: string }
  /** it is an element type */
  readonly dtype?: Dtype | 'unknown'
}

/** Bytes that tensors are views of, by the key that they have in the file: so many elements of `size` bytes. */
export interface Storage {
  readonly kind: 'storage'
  readonly key: string
  readonly elements: number
  readonly size: number
  readonly dtype?: Dtype
  readonly refused?: string
}

/** A view of a storage: `offset` and `strides` in elements, within the elements that the storage says it has. */
export interface Tensor {
  readonly kind: 'tensor'
  readonly storage: Storage
  readonly dtype: Dtype
  readonly offset: number
  readonly shape: readonly number[]
  readonly strides: readonly number[]
}

/** A tensor that an asset can't hold, and why: harmless unless it is one of the state dict. */
export interface Refused {
  readonly kind: 'refused'
  readonly why: string
}

/** Something that nobody needs to look into. */
export interface Opaque {
  readonly kind: 'opaque'
}

export const OPAQUE: Opaque = { kind: 'opaque' }

/** True for a recorded value of this kind. */
export function is<K extends Recorded['kind']>(value: Value | undefined, kind: K): value is Extract<Recorded, { kind: K }> {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === kind
}

/** What a value is, for people. */
export function nameOfKind(value: Value): string {
  if (value === null) return 'None'
  if (value instanceof Uint8Array) return 'bytes'
  if (typeof value !== 'object') return typeof value === 'bigint' ? 'a number' : `a ${typeof value}`
  return value.kind === 'global' ? value.name : `a ${value.kind}`
}

/** The values that a value holds. */
export function inside(value: Value): Iterable<Value> {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return []
  if (value.kind === 'tuple' || value.kind === 'list') return value.items ?? []
  if (value.kind === 'dict') return value.entries?.values() ?? []
  return value.kind === 'instance' && value.state !== undefined ? [value.state] : []
}

/** The error of a file that is not what it should be. */
export function bad(what: string, why: string): AssetError {
  return new AssetError('BAD_INPUT', `Cannot read ${what}: ${why}`)
}
