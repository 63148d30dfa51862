import { mkdirSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { fileURLToPath } from 'node:url'

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

/** Prints a bench's figures as one line of JSON; `--record` keeps them under bench/record as well. */
export function report(name: string, figures: object): void {
  const date = new Date().toISOString().slice(0, 10)
  const record = { bench: name, date, node: process.version, cores: availableParallelism(), cpu: cpus()[0]?.model, ...figures }
  console.log(JSON.stringify(record))
  if (!process.argv.includes('--record')) return
  const folder = fileURLToPath(new URL(`../../bench/record/${date}/`, import.meta.url))
  mkdirSync(folder, { recursive: true })
  writeFileSync(`${folder}${name}.json`, `${JSON.stringify(record, undefined, 2)}\n`)
}

/** Rounds for people: four significant digits. */
export function round(value: number): number {
  return Number(value.toPrecision(4))
}
