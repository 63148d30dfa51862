// Changes GGUF files at random and opens them: node dist/test/hostile/gguf-fuzz.js SECONDS SEED FILE...
import { fuzz } from './fuzzing.js'
import { mutatedGguf } from './gguf-mutations.js'

await fuzz(mutatedGguf, '.gguf')
