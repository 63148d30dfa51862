import { AssetError } from '../src/core/errors.js'

/** A parsed config.json; nothing in it is trusted. */
export type Config = Readonly<Record<string, unknown>>

/** An AssetError 'BAD_INPUT' about config.json. */
export function badConfig(why: string): AssetError {
  return new AssetError('BAD_INPUT', `Cannot build the graph: config.json ${why}`)
}

/**
 * Reads config.json key by key, with the bounds that a graph needs. A key that is null counts as absent, as in transformers.
 * Every method throws AssetError 'BAD_INPUT' that names the key.
 */
export class ConfigReader {
  constructor(
    private readonly config: Config,
    private readonly prefix = '',
  ) {}

  has(key: string): boolean {
    return Object.hasOwn(this.config, key) && this.config[key] !== null && this.config[key] !== undefined
  }

  /** True where the key is there and null: for keys whose absence means something else. */
  isNull(key: string): boolean {
    return Object.hasOwn(this.config, key) && this.config[key] === null
  }

  /** True where the key is a list: for keys that are a number in most files. */
  isList(key: string): boolean {
    return this.has(key) && Array.isArray(this.config[key])
  }

  /** A size or count: a whole number from 1 to 2^31 - 1. */
  size(key: string, fallback?: number): number {
    return this.number(
      key,
      fallback,
      (value) => Number.isInteger(value) && value >= 1 && value < 2 ** 31,
      'a whole number from 1 to 2147483647',
    )
  }

  /** A whole number from 0 to 2^31 - 1. */
  count(key: string, fallback?: number): number {
    return this.number(
      key,
      fallback,
      (value) => Number.isInteger(value) && value >= 0 && value < 2 ** 31,
      'a whole number from 0 to 2147483647',
    )
  }

  /** A finite number above zero. */
  positive(key: string, fallback?: number): number {
    return this.number(key, fallback, (value) => value > 0 && value < Number.POSITIVE_INFINITY, 'a number above zero')
  }

  flag(key: string, fallback: boolean): boolean {
    if (!this.has(key)) return fallback
    const value = this.config[key]
    if (typeof value !== 'boolean') throw this.refusal(key, 'true or false')
    return value
  }

  text(key: string, fallback: string): string {
    if (!this.has(key)) return fallback
    const value = this.config[key]
    if (typeof value !== 'string') throw this.refusal(key, 'a text')
    return value
  }

  /** A list of texts, or undefined where absent. */
  texts(key: string): readonly string[] | undefined {
    if (!this.has(key)) return undefined
    const value = this.config[key]
    if (!Array.isArray(value) || value.some((item) => typeof item !== 'string')) throw this.refusal(key, 'a list of texts')
    return value
  }

  /** A list of whole numbers from 0 to 2^31 - 1, empty where absent. */
  counts(key: string): readonly number[] {
    const value = this.has(key) ? this.config[key] : []
    const fits = (item: unknown) => Number.isInteger(item) && (item as number) >= 0 && (item as number) < 2 ** 31
    if (!Array.isArray(value) || !value.every(fits)) throw this.refusal(key, 'a list of whole numbers from 0')
    return value
  }

  /** A list of zeros and ones, as such or as false and true, or undefined where absent. */
  flags(key: string): readonly boolean[] | undefined {
    if (!this.has(key)) return undefined
    const value = this.config[key]
    const fits = (item: unknown) => typeof item === 'boolean' || item === 0 || item === 1
    if (!Array.isArray(value) || !value.every(fits)) throw this.refusal(key, 'a list of zeros and ones')
    return value.map(Boolean)
  }

  /** A list of `length` finite numbers above zero. */
  numbers(key: string, length: number): readonly number[] {
    const value = this.has(key) ? this.config[key] : undefined
    const fits = (item: unknown) => typeof item === 'number' && item > 0 && item < Number.POSITIVE_INFINITY
    if (!Array.isArray(value) || value.length !== length || !value.every(fits)) throw this.refusal(key, `${length} numbers above zero`)
    return value
  }

  /** A nested object, or undefined where absent. */
  object(key: string): ConfigReader | undefined {
    if (!this.has(key)) return undefined
    const value = this.config[key]
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw this.refusal(key, 'an object')
    return new ConfigReader(value as Config, `${this.prefix}${key}.`)
  }

  private number(key: string, fallback: number | undefined, allowed: (value: number) => boolean, wanted: string): number {
    const value = this.has(key) ? this.config[key] : fallback
    if (typeof value !== 'number' || !allowed(value)) throw this.refusal(key, wanted)
    return value
  }

  private refusal(key: string, wanted: string): AssetError {
    const shown = this.has(key) ? `is ${(JSON.stringify(this.config[key]) ?? 'odd').slice(0, 80)}` : 'is missing'
    return badConfig(`${this.prefix}${key} ${shown}, expected ${wanted}`)
  }
}

/** @throws AssetError 'UNSUPPORTED' naming the first of these keys that is true */
export function refuseFlags(config: ConfigReader, ...keys: readonly string[]): void {
  for (const key of keys)
    if (config.flag(key, false)) throw new AssetError('UNSUPPORTED', `Cannot build the graph: ${key} is not supported for this family`)
}
