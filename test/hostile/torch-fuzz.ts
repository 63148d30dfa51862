// Changes files of PyTorch at random and opens them: node dist/test/hostile/torch-fuzz.js SECONDS SEED FILE...
import { fuzz } from './fuzzing.js'
import { mutatedFile } from './torch-mutations.js'

await fuzz(mutatedFile, '.pt')
