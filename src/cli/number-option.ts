import { AssetError } from '../core/errors.js'

/** What an option takes: a number within bounds. */
interface Bounds {
  readonly whole?: boolean
  readonly from: number
  readonly to: number
  /** for people: what to give */
  readonly wanted: string
}

/** Reads the number of an option, for commander. Whatever it refuses is wrong usage. */
export function numberOption(name: string, { whole = false, from, to, wanted }: Bounds): (text: string) => number {
  return (text) => {
    const value = text.trim() === '' ? Number.NaN : Number(text)
    if (value >= from && value <= to && (!whole || Number.isInteger(value))) return value
    throw new AssetError('BAD_USAGE', `Cannot read --${name} ${JSON.stringify(text)}: give ${wanted}`)
  }
}

/** The same for whole numbers. */
export function wholeOption(name: string, from: number, to: number): (text: string) => number {
  return numberOption(name, { whole: true, from, to, wanted: `a whole number from ${from} to ${to}` })
}
