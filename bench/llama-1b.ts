import { existsSync } from 'node:fs'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fragment, openStore, plan, type Store } from '../src/api/index.js'
import { openAsset } from '../src/store/open-asset.js'
import { type Dtype, options } from './options.js'
import { LLAMA_1B, withFolder, writeLlama } from './synthetic.js'

// The checkpoint, and for each dtype an asset and a peer's file of the same weights.
const BYTES = 12e9

/** The shape of Llama 3.2 1B in one dtype. */
export interface Measured {
  readonly dtype: Dtype
  readonly store: Store
  readonly cid: string
  /** bytes of all weights, every one of which a token touches: the embedding is the head */
  readonly weightBytes: number
  /** where the checkpoint is, and where peers may keep what they make of it */
  readonly folder: string
  /** the files of the weights, the largest first */
  readonly files: readonly string[]
}

/** Calls `use` for each dtype that was asked for; the models are made once and kept where MODULE_ASSETS_BENCH names a folder. */
export async function eachDtype(use: (measured: Measured) => Promise<void>): Promise<void> {
  const within = options.folder === undefined ? <T>(call: (folder: string) => Promise<T>) => withFolder(BYTES, call) : undefined
  const all = async (folder: string) => {
    for (const dtype of options.dtypes) await use(await measured(folder, dtype))
  }
  if (within) return within(all)
  await mkdir(options.folder!, { recursive: true })
  return all(options.folder!)
}

async function measured(folder: string, dtype: Dtype): Promise<Measured> {
  const checkpoint = join(folder, 'llama-1b')
  // its config comes last, so what has one is whole
  if (!existsSync(join(checkpoint, 'config.json'))) await writeLlama(checkpoint, LLAMA_1B)
  const store = await openStore(join(folder, 'store'))
  const cid = await kept(join(folder, `llama-1b-${dtype}.cid`), async () => (await fragment(checkpoint, { store, dtype })).cid)
  const { weightBytes } = await plan(cid, { store, engine: 'native' })
  await using asset = await openAsset(cid, async () => store)
  const bySize = [...asset.manifest.files.values()].sort((a, b) => b.size - a.size)
  return { dtype, store, cid, weightBytes, folder, files: await Promise.all(bySize.map(async (file) => (await asset.placeOf(file)).path)) }
}

/** The text of a file, which `make` gives where there is none. */
async function kept(path: string, make: () => Promise<string>): Promise<string> {
  if (existsSync(path)) return readFile(path, 'utf8')
  const text = await make()
  await writeFile(`${path}.new`, text)
  await rename(`${path}.new`, path)
  return text
}
