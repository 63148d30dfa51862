import { mkdirSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import { options } from './options.js'

/** The middle of at least one number. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** Seconds that a call takes. */
export async function seconds(call: () => Promise<unknown>): Promise<number> {
  const started = performance.now()
  await call()
  return (performance.now() - started) / 1000
}

/** What was measured at the same time; ratios are among its figures. */
export type Round = Readonly<Record<string, number>>

/** The median of each figure over the rounds that have it, and the rounds themselves. */
export function summary(rounds: readonly Round[]): { readonly medians: Round; readonly rounds: readonly Round[] } {
  const names = [...new Set(rounds.flatMap(Object.keys))]
  const all = (name: string) => rounds.flatMap((one) => one[name] ?? [])
  const rounded = (one: Round) => Object.fromEntries(Object.entries(one).map(([name, value]) => [name, round(value)]))
  return { medians: rounded(Object.fromEntries(names.map((name) => [name, median(all(name))]))), rounds: rounds.map(rounded) }
}

/** Prints a bench's figures, with `--json` as one line of JSON; `--record` keeps them under bench/record as well. */
export function report(bench: string, figures: object, name = bench): void {
  const now = new Date()
  const date = now.toISOString().slice(0, 10)
  const machine = {
    node: process.version,
    cores: availableParallelism(),
    cpu: cpus()[0]?.model,
    memoryGB: round(totalmem() / 1e9),
    system: `${process.platform} ${release()}`,
  }
  const record = { bench, date, time: now.toISOString().slice(11, 16), ...machine, ...figures }
  if (options.json) console.log(JSON.stringify(record))
  else console.log(`${name} ${inspect(withoutRounds(figures), { depth: Number.POSITIVE_INFINITY, breakLength: 120 })}`)
  if (!options.record) return
  const folder = fileURLToPath(new URL(`../../bench/record/${date}/`, import.meta.url))
  mkdirSync(folder, { recursive: true })
  writeFileSync(`${folder}${name}.json`, `${JSON.stringify(record, undefined, 2)}\n`)
}

/** For people the medians are enough. */
function withoutRounds(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  const kept = Object.entries(value).filter(([key, inner]) => !(key === 'rounds' && Array.isArray(inner)))
  return Object.fromEntries(kept.map(([key, inner]) => [key, withoutRounds(inner)]))
}

/** Rounds for people: four significant digits. */
export function round(value: number): number {
  return Number(value.toPrecision(4))
}

/** What a bench has to say beside its figures. */
export function note(line: string): void {
  console.error(line)
}
