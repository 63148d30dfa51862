// Changes ONNX models at random and opens them: node dist/test/hostile/onnx-fuzz.js SECONDS SEED FILE...
// Files that end in .data lie beside each. Prints how many were read, or refused with which code. A model that makes
// anything else happen is kept where this is run, as found-SEED.onnx, and ends the run; the same seed and files find it again.
import { readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { randomOf } from '../random.js'
import { temporary } from '../sources/files.js'
import { modelOpenedOrRefused, mutatedModel, writeBeside } from './onnx-mutations.js'

const [seconds, first, ...paths] = process.argv.slice(2)
const models = paths.filter((path) => !path.endsWith('.data')).map((path) => readFileSync(path))
const beside = paths.filter((path) => path.endsWith('.data')).map((path) => [basename(path), readFileSync(path)] as const)
const until = Date.now() + Number(seconds) * 1000
const counts = new Map<string, number>()
let slowest = { seed: 0, milliseconds: 0 }
let seed = Number(first)
await using folder = await temporary()
const path = `${realpathSync(folder.path)}/model.onnx`
const sizes = await writeBeside(path, Object.fromEntries(beside))
for (; Date.now() < until; seed++) {
  const random = randomOf(seed)
  const bytes = mutatedModel(models[random(models.length)]!, random)
  const begin = performance.now()
  try {
    const outcome = await modelOpenedOrRefused(bytes, path, sizes)
    counts.set(outcome, (counts.get(outcome) ?? 0) + 1)
  } catch (error) {
    writeFileSync(`found-${seed}.onnx`, bytes)
    console.error(`found-${seed}.onnx:`, error)
    process.exitCode = 1
    break
  }
  const milliseconds = performance.now() - begin
  if (milliseconds > slowest.milliseconds) slowest = { seed, milliseconds }
}
console.log(
  JSON.stringify({ seeds: [Number(first), seed], counts: Object.fromEntries(counts), slowest, maxRSS: process.resourceUsage().maxRSS }),
)
