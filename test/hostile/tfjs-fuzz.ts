// Changes models of TensorFlow.js at random and opens them: node dist/test/hostile/tfjs-fuzz.js SECONDS SEED
// Prints how many were read, or refused with which code. A model that makes anything else happen ends the run, which says its seed;
// its files are kept in found-SEED.
import { cp } from 'node:fs/promises'
import { randomOf } from '../random.js'
import { temporary } from '../sources/files.js'
import { tfjsModels } from '../sources/tfjs-files.js'
import { openedOrRefused } from './tfjs-mutations.js'

const [seconds, first] = process.argv.slice(2).map(Number) as [number, number]
const models = Object.values(await tfjsModels())
const until = Date.now() + seconds * 1000
const counts = new Map<string, number>()
let seed = first
await using folder = await temporary()
for (; Date.now() < until; seed++) {
  try {
    const outcome = await openedOrRefused(models[seed % models.length]!, randomOf(seed), folder.path)
    counts.set(outcome, (counts.get(outcome) ?? 0) + 1)
  } catch (error) {
    await cp(`${folder.path}/model`, `found-${seed}`, { recursive: true })
    console.error(`found-${seed}:`, error)
    process.exitCode = 1
    break
  }
}
console.log(JSON.stringify({ seeds: [first, seed], counts: Object.fromEntries(counts), maxRSS: process.resourceUsage().maxRSS }))
