import { writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { dtypeSize } from '../../src/core/dtypes.js'
import { AssetError } from '../../src/core/errors.js'
import { parseGraph } from '../../src/graph/parse.js'
import type { WeightRef } from '../../src/graph/weights.js'
import { openCheckpoint } from '../../src/sources/open.js'
import { stridedBytes } from '../../src/sources/strided.js'
import type { Random } from '../random.js'

const EXTREMES = [0, 1, 0x7f, 0x80, 0xff]

/**
 * A model with a few changes: bits, bytes, tags of other fields, varints, runs that go, come twice or move. Most
 * are made in a copy that keeps its length, since nearly all others only break the lengths of the messages around them.
 */
export function mutatedModel(source: Uint8Array, random: Random): Buffer {
  let bytes = Buffer.from(source)
  for (let change = random(4) + 1; change > 0 && bytes.byteLength > 8; change--) {
    const at = random(bytes.byteLength)
    const run = Math.min(1 + random(12), bytes.byteLength - at)
    const kind = random(12)
    if (kind < 3) bytes[at]! ^= 1 << random(8)
    else if (kind < 5) bytes[at] = random(256)
    else if (kind < 7) bytes[at] = EXTREMES[random(EXTREMES.length)]!
    // The tag of another field, of any wire type.
    else if (kind < 9) bytes[at] = (1 + random(16)) * 8 + random(6)
    else if (kind === 9) bytes.copy(bytes, random(bytes.byteLength - run + 1), at, at + run)
    else if (kind === 10) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + run)])
    else bytes = Buffer.concat([bytes.subarray(0, at + run), bytes.subarray(at)])
  }
  return bytes
}

/**
 * Opens a model of these bytes, beside files of the sizes given: it is refused with a typed error, or all of its tensors are
 * within their files, and its graph is one that can be read again. Gives the code, or `read`.
 */
export async function modelOpenedOrRefused(bytes: Uint8Array, path: string, beside: Readonly<Record<string, number>>): Promise<string> {
  await writeFile(path, bytes)
  try {
    const { tensors, graph } = await openCheckpoint(path)
    const weights = new Map<string, WeightRef>()
    for (const [name, { file, offset, length, strided, shape, dtype }] of tensors) {
      const size = file.path === path ? bytes.byteLength : beside[file.path]
      const dense = shape.reduce((product, count) => product * count, dtypeSize(dtype))
      const starts = strided?.starts ?? [0]
      const run = strided ? strided.counts.reduce((end, count, i) => end + (count - 1) * strided.steps[i]!, strided.unit) : length
      const end = Math.max(...starts.map((start) => offset + start + run))
      if (size === undefined || (length > 0 && end > size) || dense !== length || (strided && stridedBytes(strided) !== length))
        throw new Error(`tensor ${JSON.stringify(name)} lies beyond its file`)
      weights.set(name, { dtype, shape, location: 'modules/w.safetensors', offset: 0, length })
    }
    if (graph) parseGraph(graph(weights).bytes)
    return 'read'
  } catch (error) {
    if (error instanceof AssetError) return error.code
    throw error
  }
}

/** Writes files beside a model, and gives their sizes by path. */
export async function writeBeside(path: string, files: Readonly<Record<string, Uint8Array>>): Promise<Record<string, number>> {
  const sizes: Record<string, number> = {}
  for (const [name, bytes] of Object.entries(files)) {
    const place = join(dirname(path), name)
    await writeFile(place, bytes)
    sizes[place] = bytes.byteLength
  }
  return sizes
}
