import { readFileSync, writeFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { dtypeSize } from '../../src/core/dtypes.js'
import { AssetError } from '../../src/core/errors.js'
import { PACKED } from '../../src/sources/gguf/types.js'
import { openCheckpoint } from '../../src/sources/open.js'
import { type Random, randomOf } from '../random.js'
import { temporary } from '../sources/files.js'

/** Opens a file with these bytes: it is refused with a typed error, or every byte of every tensor is in it. Gives the code, or `read`. */
export async function openedOrRefused(bytes: Uint8Array, path: string): Promise<string> {
  await writeFile(path, bytes)
  let tensors: Awaited<ReturnType<typeof openCheckpoint>>['tensors']
  try {
    tensors = (await openCheckpoint(path)).tensors
  } catch (error) {
    if (error instanceof AssetError) return error.code
    throw error
  }
  for (const [name, { offset, length, strided, shape, dtype, packed }] of tensors) {
    const each = packed && PACKED[packed.type]
    const stored = each ? (length / dtypeSize(dtype) / each.elements) * each.bytes : length
    const { unit, counts, steps } = strided ?? { unit: stored, counts: [], steps: [] }
    const end = counts.reduce((end, count, i) => end + (count - 1) * steps[i]!, offset + unit)
    const dense = shape.reduce((product, count) => product * count, dtypeSize(dtype))
    const elements = counts.reduce((product, count) => product * count, unit)
    if (end > bytes.byteLength || dense !== length || elements !== stored)
      throw new Error(`tensor ${JSON.stringify(name)} lies beyond its file`)
  }
  return 'read'
}

/** One attempt of a fuzz: gives how it ended, or throws what should not happen. */
type Attempt = (random: Random, seed: number) => Promise<string>

/**
 * Makes attempts for so many seconds, with seeds from the first on, and prints how many ended how. The first that throws ends it: `keep`
 * puts what was tried where this is run, under the name that it is given. The same seed finds it again.
 */
export async function attempts(
  [seconds, first]: readonly [number, number],
  attempt: Attempt,
  keep: (name: string) => unknown,
): Promise<void> {
  const until = Date.now() + seconds * 1000
  const counts = new Map<string, number>()
  let slowest = { seed: 0, milliseconds: 0 }
  let seed = first
  for (; Date.now() < until; seed++) {
    const begin = performance.now()
    try {
      const outcome = await attempt(randomOf(seed), seed)
      counts.set(outcome, (counts.get(outcome) ?? 0) + 1)
    } catch (error) {
      await keep(`found-${seed}`)
      console.error(`found-${seed}:`, error)
      process.exitCode = 1
      break
    }
    const milliseconds = performance.now() - begin
    if (milliseconds > slowest.milliseconds) slowest = { seed, milliseconds }
  }
  console.log(JSON.stringify({ seeds: [first, seed], counts: Object.fromEntries(counts), slowest, maxRSS: process.resourceUsage().maxRSS }))
}

/**
 * Changes files at random and opens them, as the command line says: SECONDS SEED FILE... Prints how many were read, or refused
 * with which code. A file that makes anything else happen is kept where this is run, as found-SEED and `ending`, and ends the
 * run; the same seed and files find it again.
 */
export async function fuzz(change: (file: Uint8Array, random: Random) => Uint8Array, ending: string): Promise<void> {
  const [seconds, first, ...paths] = process.argv.slice(2)
  const files = paths.map((path) => readFileSync(path))
  await using folder = await temporary()
  let bytes: Uint8Array
  await attempts(
    [Number(seconds), Number(first)],
    (random) => {
      bytes = change(files[random(files.length)]!, random)
      return openedOrRefused(bytes, `${folder.path}/w`)
    },
    (name) => writeFileSync(`${name}${ending}`, bytes),
  )
}
