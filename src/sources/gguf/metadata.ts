import { AssetError } from '../../core/errors.js'
import { LIMITS } from '../../core/limits.js'
import { shown } from '../../graph/names.js'
import { Cursor } from './cursor.js'

/** A list in the metadata: how its elements are stored, and their bytes, which are taken apart when they are asked for. */
export interface List {
  readonly element: Scalar
  readonly count: number
  readonly bytes: Uint8Array
}

/** A value in the metadata, with the type that the file gave it. */
export type MetaValue =
  | { readonly type: Scalar; readonly value: number | bigint | boolean | string }
  | { readonly type: 'list'; readonly value: List }

/** By their numbers in the file; 9, between text and the last three, is a list. */
const SCALARS = ['u8', 'i8', 'u16', 'i16', 'u32', 'i32', 'f32', 'bool', 'text', undefined, 'u64', 'i64', 'f64'] as const
const LIST = 9
type Scalar = NonNullable<(typeof SCALARS)[number]>
const SIZES: Record<Scalar, number> = { u8: 1, i8: 1, u16: 2, i16: 2, u32: 4, i32: 4, f32: 4, bool: 1, text: 8, u64: 8, i64: 8, f64: 8 }

/** Reads one value; `key` is for errors. @throws AssetError 'BAD_INPUT' | 'LIMIT' */
export function readValue(cursor: Cursor, key: string): MetaValue {
  const type = cursor.u32()
  if (type !== LIST) {
    const kind = scalar(cursor, type, key)
    return { type: kind, value: readScalar(cursor, kind, key) }
  }
  const number = cursor.u32()
  if (number === LIST) throw cursor.bad(`its key ${shown(key)} is a list of lists, which no model has`)
  const element = scalar(cursor, number, key)
  const count = cursor.count(`elements of ${shown(key)}`, SIZES[element], LIMITS.ggufElements)
  const begin = cursor.position
  if (element === 'text') for (let i = 0; i < count; i++) cursor.skip(cursor.count(`bytes of ${shown(key)}`, 1, LIMITS.ggufText))
  else cursor.skip(count * SIZES[element])
  return { type: 'list', value: { element, count, bytes: cursor.since(begin) } }
}

function scalar(cursor: Cursor, number: number, key: string): Scalar {
  const type = SCALARS[number]
  if (type === undefined) throw cursor.bad(`its key ${shown(key)} has the unknown type ${number}`)
  return type
}

function readScalar(cursor: Cursor, type: Scalar, key: string): number | bigint | boolean | string {
  if (type === 'text') return cursor.text(`the value of ${shown(key)}`, LIMITS.ggufText)
  if (type !== 'bool') return cursor[type]()
  const byte = cursor.u8()
  if (byte > 1) throw cursor.bad(`its key ${shown(key)} is neither true nor false`)
  return byte === 1
}

/** What a file says about itself, key by key; nothing in it is trusted. Every method throws AssetError 'BAD_INPUT' that names the key. */
export class Metadata {
  constructor(
    private readonly values: ReadonlyMap<string, MetaValue>,
    private readonly what: string,
  ) {}

  has(key: string): boolean {
    return this.values.has(key)
  }

  /** A text, or undefined where absent. */
  text(key: string): string | undefined {
    const found = this.values.get(key)
    if (found === undefined) return undefined
    if (found.type !== 'text') throw this.refusal(key, 'a text')
    return found.value as string
  }

  flag(key: string): boolean | undefined {
    const found = this.values.get(key)
    if (found === undefined) return undefined
    if (found.type !== 'bool') throw this.refusal(key, 'true or false')
    return found.value as boolean
  }

  /** A whole number from 0 to 2^31 - 1. */
  count(key: string): number | undefined {
    const value = this.number(key)
    if (value !== undefined && !(Number.isInteger(value) && value >= 0 && value < 2 ** 31))
      throw this.refusal(key, 'a whole number from 0 to 2147483647')
    return value
  }

  /** A finite number; one of 32 bits as the shortest decimal that stands for it, as config.json would have it. */
  number(key: string): number | undefined {
    const found = this.values.get(key)
    if (found === undefined) return undefined
    const { type, value } = found
    if (type === 'list' || typeof value === 'string' || typeof value === 'boolean') throw this.refusal(key, 'a number')
    const number = Number(value)
    if (!Number.isFinite(number)) throw this.refusal(key, 'a finite number')
    return type === 'f32' ? shortest(number) : number
  }

  /** A list of texts. */
  texts(key: string): string[] | undefined {
    const list = this.list(key, ['text'], 'a list of texts')
    if (!list) return undefined
    if (list.count > LIMITS.ggufTexts) throw this.beyond(`its list ${shown(key)} has ${list.count} texts, the limit is ${LIMITS.ggufTexts}`)
    const cursor = new Cursor(list.bytes, list.bytes.byteLength, this.what)
    return Array.from({ length: list.count }, () => cursor.text(`the list ${shown(key)}`, LIMITS.ggufText))
  }

  /** A list of numbers of at most 32 bits, or of booleans as 0 and 1. */
  numbers(key: string): number[] | undefined {
    const kinds = ['u8', 'i8', 'u16', 'i16', 'u32', 'i32', 'f32', 'bool'] as const
    const list = this.list(key, kinds, 'a list of numbers')
    if (!list) return undefined
    const cursor = new Cursor(list.bytes, list.bytes.byteLength, this.what)
    const read = list.element === 'bool' ? 'u8' : (list.element as Exclude<(typeof kinds)[number], 'bool'>)
    return Array.from({ length: list.count }, () => cursor[read]())
  }

  /** True where the value is a list. */
  isList(key: string): boolean {
    return this.values.get(key)?.type === 'list'
  }

  /** An error about a key whose value does not serve. */
  refusal(key: string, wanted: string): AssetError {
    return new AssetError('BAD_INPUT', `Cannot read ${this.what}: its key ${shown(key)} is not ${wanted}; get it again, or convert it anew`)
  }

  /** An error about more than is taken. */
  beyond(why: string): AssetError {
    return new AssetError('LIMIT', `Cannot read ${this.what}: ${why}`)
  }

  private list(key: string, elements: readonly Scalar[], wanted: string): List | undefined {
    const found = this.values.get(key)
    if (found === undefined) return undefined
    if (found.type !== 'list' || !elements.includes(found.value.element)) throw this.refusal(key, wanted)
    return found.value
  }
}

function shortest(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits))
    if (Math.fround(short) === value) return short
  }
  return value
}
