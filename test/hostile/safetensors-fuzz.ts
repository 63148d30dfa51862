// Changes safetensors files at random and opens them: node dist/test/hostile/safetensors-fuzz.js SECONDS SEED FILE...
import { fuzz } from './fuzzing.js'
import { mutated } from './torch-mutations.js'

await fuzz(mutated, '.safetensors')
