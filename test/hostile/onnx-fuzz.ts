// Changes ONNX models at random and opens them: node dist/test/hostile/onnx-fuzz.js SECONDS SEED FILE...
// Files that end in .data lie beside each. Prints how many were read, or refused with which code. A model that makes
// anything else happen is kept where this is run, as found-SEED.onnx, and ends the run; the same seed and files find it again.
import { readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { temporary } from '../sources/files.js'
import { attempts } from './fuzzing.js'
import { modelOpenedOrRefused, mutatedModel, writeBeside } from './onnx-mutations.js'

const [seconds, first, ...paths] = process.argv.slice(2)
const models = paths.filter((path) => !path.endsWith('.data')).map((path) => readFileSync(path))
const beside = paths.filter((path) => path.endsWith('.data')).map((path) => [basename(path), readFileSync(path)] as const)
await using folder = await temporary()
const path = `${realpathSync(folder.path)}/model.onnx`
const sizes = await writeBeside(path, Object.fromEntries(beside))
let bytes: Uint8Array
await attempts(
  [Number(seconds), Number(first)],
  (random) => {
    bytes = mutatedModel(models[random(models.length)]!, random)
    return modelOpenedOrRefused(bytes, path, sizes)
  },
  (name) => writeFileSync(`${name}.onnx`, bytes),
)
