// Changes files of PyTorch at random and opens them: node dist/test/hostile/torch-fuzz.js SECONDS SEED FILE...
// Prints how many were read, or refused with which code. A file that makes anything else happen is kept where this is run,
// as found-SEED.pt, and ends the run; the same seed and files find it again.
import { readFileSync, writeFileSync } from 'node:fs'
import { temporary } from '../sources/files.js'
import { mutatedFile, openedOrRefused, randomOf } from './torch-mutations.js'

const [seconds, first, ...paths] = process.argv.slice(2)
const files = paths.map((path) => readFileSync(path))
const until = Date.now() + Number(seconds) * 1000
const counts = new Map<string, number>()
let slowest = { seed: 0, milliseconds: 0 }
let seed = Number(first)
await using folder = await temporary()
for (; Date.now() < until; seed++) {
  const random = randomOf(seed)
  const bytes = mutatedFile(files[random(files.length)]!, random)
  const begin = performance.now()
  try {
    const outcome = await openedOrRefused(bytes, `${folder.path}/w`)
    counts.set(outcome, (counts.get(outcome) ?? 0) + 1)
  } catch (error) {
    writeFileSync(`found-${seed}.pt`, bytes)
    console.error(`found-${seed}.pt:`, error)
    process.exitCode = 1
    break
  }
  const milliseconds = performance.now() - begin
  if (milliseconds > slowest.milliseconds) slowest = { seed, milliseconds }
}
console.log(
  JSON.stringify({ seeds: [Number(first), seed], counts: Object.fromEntries(counts), slowest, maxRSS: process.resourceUsage().maxRSS }),
)
