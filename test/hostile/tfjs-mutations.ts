import { mkdir, rm, writeFile } from 'node:fs/promises'
import { dtypeSize } from '../../src/core/dtypes.js'
import { AssetError } from '../../src/core/errors.js'
import { type Checkpoint, sourceFileAt } from '../../src/sources/checkpoint.js'
import { openCheckpoint } from '../../src/sources/open.js'
import type { Random } from '../random.js'
import type { TfjsModel } from '../sources/tfjs-files.js'
import { mutated } from './torch-mutations.js'

const VALUES: readonly unknown[] = [null, -1, 0, 1.5, 1e308, 2 ** 53, '', '../x', 'a/b', '__proto__', 'string', 'uint16', [], {}, true]

/** The same structure with a few of its values changed, gone, doubled, or of another kind. */
function changed(value: unknown, random: Random, chance: number): unknown {
  if (random(chance) === 0) return VALUES[random(VALUES.length)]
  if (Array.isArray(value)) {
    const items = value.flatMap((item) => (random(chance) === 0 ? [] : [changed(item, random, chance)]))
    return random(chance) === 0 ? [...items, ...items.slice(-1)] : items
  }
  if (typeof value === 'number' && random(chance / 2) === 0) return value + 1 - random(3)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, changed(item, random, chance)]))
}

/** Writes a model, of which a file is changed, into a folder and opens it: gives the code that it is refused with, or `read`. */
export async function openedOrRefused({ files }: TfjsModel, random: Random, folder: string): Promise<string> {
  await rm(`${folder}/model`, { recursive: true, force: true })
  await mkdir(`${folder}/model`)
  const names = [...files.keys()]
  const name = random(4) === 0 ? names[random(names.length)]! : 'model.json'
  for (const [path, bytes] of files) {
    const parsed = path === name && path === 'model.json' && random(3) > 0
    const { modelTopology, ...rest } = parsed ? JSON.parse(Buffer.from(bytes).toString()) : { modelTopology: undefined }
    const made = parsed ? Buffer.from(JSON.stringify({ ...(changed(rest, random, 120) as object), modelTopology })) : mutated(bytes, random)
    await writeFile(`${folder}/model/${path}`, path === name ? made : bytes)
  }
  let checkpoint: Checkpoint
  try {
    checkpoint = await openCheckpoint(`${folder}/model`)
  } catch (error) {
    if (error instanceof AssetError) return error.code
    throw error
  }
  for (const [key, { file, offset, length, further = [], shape, dtype }] of checkpoint.tensors) {
    const rest = further.reduce((sum, run) => sum + run.length, 0)
    const runs = [{ file, offset, length: length - rest }, ...further]
    const dense = shape.reduce((product, count) => product * count, dtypeSize(dtype))
    for (const run of runs)
      if (run.offset + run.length > (await sourceFileAt(run.file.path)).size || !run.file.path.startsWith(`${folder}/model/`))
        throw new Error(`weight ${JSON.stringify(key)} lies beyond its shards`)
    if (dense !== length) throw new Error(`weight ${JSON.stringify(key)} has ${length} bytes, its shape says ${dense}`)
  }
  return 'read'
}
