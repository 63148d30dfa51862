// How fast is converting weights, beside hashing the same source bytes? Megabytes of BF16 source per second of one core, by
// its own clock, whatever else the machine does.
import { createHash } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fragment } from '../src/api/index.js'
import { type ConvertedPart, convertInto, type Target } from '../src/asset/convert/conversion.js'
import { WEIGHT_DTYPES } from '../src/asset/convert/plan.js'
import { median, report, round, seconds } from './measure.js'
import { withFolder, writeLlama } from './synthetic.js'

const ELEMENTS = 4 * 1024 * 1024
const words = Uint16Array.from({ length: ELEMENTS }, (_, at) => {
  const random = Math.sin(at * 12.9898) * 43758.5453
  const value = new Float32Array([(random - Math.floor(random) - 0.5) * 0.1])
  return new Uint16Array(value.buffer)[1]!
})
const source = new Uint8Array(words.buffer)
const file = { path: 'source', size: source.byteLength, mtimeMs: 0, ino: 0 }

/** Converts one weight of (2048, 2048) as a fragment has it: its scales first, where it has any. */
function convert(targets: readonly (readonly [Target, number])[], to: Uint8Array): void {
  for (const [target, bytes] of targets) {
    const part: ConvertedPart = { source: { file, offset: 0 }, tensor: 'w', from: 'BF16', to: target, skip: 0, length: ELEMENTS * bytes }
    convertInto(part, 0, to.subarray(0, part.length), (into, position) => into.set(source.subarray(position, position + into.byteLength)))
  }
}

const out = new Uint8Array(ELEMENTS * 2)
const kinds = {
  hash: () => createHash('sha256').update(source).digest(),
  f16: () => convert([['F16', 2]], out),
  q8: () =>
    convert(
      [
        ['Q8_SCALE', 1 / 16],
        ['Q8', 1],
      ],
      out,
    ),
  q4: () =>
    convert(
      [
        ['Q4_SCALE', 1 / 16],
        ['Q4', 1 / 2],
      ],
      out,
    ),
}
const figures = Object.entries(kinds).map(([name, call]) => {
  call()
  const times = Array.from({ length: 5 }, () => {
    const before = process.cpuUsage()
    call()
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1000
  })
  return [`${name}MBs`, round(source.byteLength / 1e3 / median(times))]
})

// Whole assets on all cores: the same, by the wall clock, with reading, hashing and writing.
await withFolder(1e9, async (folder) => {
  const checkpoint = join(folder, 'in')
  const bytes = await writeLlama(checkpoint, { hidden: 2048, inner: 5632, layers: 2, vocab: 16000 })
  const assets: Record<string, number> = {}
  for (const dtype of WEIGHT_DTYPES) {
    const times: number[] = []
    for (let round = 0; round < 3; round++) {
      times.push(await seconds(() => fragment(checkpoint, { out: join(folder, 'out'), dtype })))
      await rm(join(folder, 'out'), { recursive: true })
    }
    assets[dtype] = round(bytes / 1e6 / median(times))
  }
  const peakRssMB = round(process.resourceUsage().maxRSS / 1000)
  report('convert', { perCore: Object.fromEntries(figures), assetMegabytes: round(bytes / 1e6), assetMBs: assets, peakRssMB })
})
