// Changes models of TensorFlow.js at random and opens them: node dist/test/hostile/tfjs-fuzz.js SECONDS SEED
// Prints how many were read, or refused with which code. A model that makes anything else happen ends the run, which says its seed;
// its files are kept in found-SEED.
import { cp } from 'node:fs/promises'
import { temporary } from '../sources/files.js'
import { tfjsModels } from '../sources/tfjs-files.js'
import { attempts } from './fuzzing.js'
import { openedOrRefused } from './tfjs-mutations.js'

const [seconds, first] = process.argv.slice(2).map(Number) as [number, number]
const models = Object.values(await tfjsModels())
await using folder = await temporary()
await attempts(
  [seconds, first],
  (random, seed) => openedOrRefused(models[seed % models.length]!, random, folder.path),
  (name) => cp(`${folder.path}/model`, name, { recursive: true }),
)
