import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { exportCar, fragment, openStore } from '../src/api/index.js'
import { options } from './options.js'
import { withFolder, writeLlama } from './synthetic.js'

const BYTES = 12e9
const CHILD = fileURLToPath(new URL('./transport-child.js', import.meta.url))

/** An asset of 2 GB. */
export interface TwoGigabytes {
  /** the store that has it */
  readonly store: string
  readonly cid: string
  /** the same as a CAR file, and its bytes */
  readonly car: string
  readonly bytes: number
  /** where repos, stores and downloads may be made, and are removed */
  readonly folder: string
}

/** Makes the asset, once where MODULE_ASSETS_BENCH names a folder to keep it in. */
export async function withTwoGigabytes(use: (asset: TwoGigabytes) => Promise<void>): Promise<void> {
  await withFolder(BYTES, async (folder) => {
    const kept = options.folder === undefined ? folder : join(options.folder, 'two-gigabytes')
    await mkdir(kept, { recursive: true })
    const [store, car, note] = ['store', 'asset.car', 'cid'].map((name) => join(kept, name)) as [string, string, string]
    // the note comes last, so what has one is whole
    if (!existsSync(note)) await make(kept, store, car, note)
    await use({ store, cid: await readFile(note, 'utf8'), car, bytes: (await stat(car)).size, folder })
  })
}

async function make(folder: string, path: string, car: string, note: string): Promise<void> {
  const source = join(folder, 'in')
  await writeLlama(source, { hidden: 2048, inner: 8192, layers: 13, vocab: 128_256, kvHeads: 8, tied: true })
  const store = await openStore(path)
  const { cid } = await fragment(source, { store })
  await rm(source, { recursive: true })
  await rm(car, { force: true })
  await exportCar(cid, car, { store })
  await writeFile(`${note}.new`, cid)
  await rename(`${note}.new`, note)
}

/** What a process of its own took for a transfer: see transport-child.ts. */
export interface Transfer {
  readonly seconds: number
  readonly rssMB: number
}

/** Runs a transfer in a process of its own. */
export async function transfer(...args: readonly string[]): Promise<Transfer> {
  const { stdout } = await promisify(execFile)(process.execPath, [CHILD, ...args])
  return JSON.parse(stdout)
}

/**
 * Does each thing once, every other round in reverse order, and waits before each until the disk has done what those before left
 * it to do: none pays for another, and none is always first.
 */
export async function inTurn<T extends Record<string, () => Promise<unknown>>>(
  round: number,
  tasks: T,
): Promise<{ [K in keyof T]: Awaited<ReturnType<T[K]>> }> {
  const names = Object.keys(tasks)
  const found: Record<string, unknown> = {}
  for (const name of round % 2 ? names.toReversed() : names) {
    await promisify(execFile)('sync')
    found[name] = await tasks[name]!()
  }
  return found as { [K in keyof T]: Awaited<ReturnType<T[K]>> }
}
